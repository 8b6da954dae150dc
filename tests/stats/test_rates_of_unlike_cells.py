"""How often tests are wrong where a noisy cell has few seeds."""

import numpy as np
import pytest
from scipy import stats

from cifarsweep.stats.error_rate import MOST_TIMES, error_rate, interaction_error_rate, seeds_added
from cifarsweep.stats.estimate import Sample
from cifarsweep.stats.evidence import best, equivalent, greater, reaches, trend
from cifarsweep.stats.factorial import OwnSpreads, unlike_interaction
from cifarsweep.stats.planning import expected


def cell(seeds: int, sd: float = 1.0, mean: float = 0.0) -> list[Sample]:
    return [expected(mean, sd, seeds)]


@pytest.mark.parametrize(
    ("few", "many", "ratio", "level"), [(3, 12, 2.0, 0.05), (3, 12, 2.0, 0.05 / 3), (3, 3, 5.0, 0.05)]
)
def test_the_rate_is_that_of_simulated_welch_tests(few: int, many: int, ratio: float, level: float) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, ratio, (200_000, few)), rng.normal(0, 1, (200_000, many))

    found = error_rate(greater(cell(few, ratio), cell(many), 0.0), level)

    simulated = (stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue <= level).mean()
    # Three standard errors of the simulation, and what the rate itself is sure to.
    assert abs(found - simulated) < 3 * np.sqrt(level / 200_000) + 0.02 * level


@pytest.mark.parametrize(
    "evidence",
    [
        greater(cell(12), cell(12), 0.0),
        reaches(cell(3, 5.0), 0.5),
        equivalent(cell(8), cell(8), 0.5),
        trend([cell(8), cell(8), cell(8)], 1),
        best(cell(8), [cell(8), cell(8)]),
    ],
)
def test_tests_of_like_cells_keep_their_level(evidence: object) -> None:
    assert error_rate(evidence, 0.05) <= 1.02 * 0.05  # type: ignore[arg-type]


def test_as_many_seeds_as_it_says_mend_it() -> None:
    level = 0.05 / 3
    evidence = greater(cell(3, 2.0), cell(12), 0.0)

    added = seeds_added(evidence, level)

    assert added is not None and added > 0
    rates = [error_rate(greater(cell(3 + n, 2.0), cell(12 + n), 0.0), level) for n in (added - 1, added)]
    assert rates[0] > MOST_TIMES * level >= rates[1]


def test_the_rate_of_an_interaction_is_that_of_simulated_tables() -> None:
    shape, seeds = (3, 4), 3
    sd = np.ones(shape)
    sd[0, 0] = 5
    values = np.random.default_rng(6).normal(0, 1, (4000, *shape, seeds)) * sd[..., None]
    df = np.full(shape, seeds - 1.0)

    found = interaction_error_rate(OwnSpreads(sd**2 / seeds, df), 0.05)

    tests = [unlike_interaction(one.mean(axis=-1), one.var(axis=-1, ddof=1) / seeds, df) for one in values]
    simulated = np.mean([test.p <= 0.05 for test in tests if test])
    assert abs(found - simulated) < 3 * np.sqrt(0.08 / 4000) + 0.006
