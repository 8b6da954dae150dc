"""The chance of a verdict is that of statsmodels where it has the test, and what simulated studies show."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower

from cifarsweep.stats import evidence as tests
from cifarsweep.stats.estimate import Sample
from cifarsweep.stats.planning import chance_of_verdict, expected, pooled_sd

SD = 0.003


@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize("away", [0.005, 0.01])
def test_a_difference_with_a_margin_is_a_one_sided_t_test(seeds, away):
    evidence = tests.greater([expected(0.51 + away, SD, seeds)], [expected(0.5, SD, seeds)], 0.01)

    power = TTestIndPower().power(away / SD, seeds, 0.05, alternative="larger")

    assert chance_of_verdict(evidence, 0.05) == pytest.approx(power, rel=1e-6)


def test_without_a_margin_it_is_two_sided_and_the_wrong_side_does_not_count():
    evidence = tests.greater([expected(0.51, SD, 4)], [expected(0.5, SD, 4)], 0.0)

    power = TTestIndPower().power(0.01 / SD, 4, 0.025, alternative="larger")

    assert chance_of_verdict(evidence, 0.05) == pytest.approx(power, rel=1e-6)


def test_one_mean_is_a_t_test_of_one_sample():
    evidence = tests.reaches([expected(0.505, SD, 5)], 0.5)

    assert chance_of_verdict(evidence, 0.05) == pytest.approx(
        TTestPower().power(0.005 / SD, 5, 0.05, alternative="larger"), rel=1e-6
    )


def test_simulated_studies_decide_as_often():
    rng = np.random.default_rng(5)
    evidence = tests.best([expected(0.51, SD, 5)], [[expected(0.5, SD, 5)]] * 3)

    def decided():
        levels = [[Sample(tuple(rng.normal(mean, SD, 5)))] for mean in (0.51, 0.5, 0.5, 0.5)]
        return tests.best(levels[0], levels[1:]).p <= 0.05

    found = np.mean([decided() for _ in range(1000)])

    # The chance of three tests at once is a lower bound.
    assert found - 0.05 < chance_of_verdict(evidence, 0.05) < found + 0.03


def test_fewer_than_three_seeds_decide_nothing():
    for seeds in (1, 2):
        evidence = tests.greater([expected(0.6, SD, seeds)], [expected(0.5, SD, seeds)], 0.0)
        assert chance_of_verdict(evidence, 0.05) == 0


def test_expected_runs_have_the_mean_and_the_spread():
    values = expected(0.7, SD, 6).values
    assert np.mean(values) == pytest.approx(0.7)
    assert np.std(values, ddof=1) == pytest.approx(SD)


def test_cells_are_pooled_by_their_degrees_of_freedom():
    assert pooled_sd([[1.0], []]) is None
    sd, df = pooled_sd([[1.0, 3.0], [0.0, 0.0, 3.0], [9.0]])
    assert df == 3
    assert sd**2 == pytest.approx((1 * 2.0 + 2 * 3.0) / 3)
