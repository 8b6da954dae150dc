"""The tests behind a verdict are those of scipy and statsmodels, and keep their heads where there is no spread."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from cifarsweep.stats.estimate import difference, mean
from cifarsweep.stats.evidence import Reached, best, equivalent, greater, near, reaches, sooner, trend
from cifarsweep.stats.multiplicity import holm, judge, schedule
from cifarsweep.stats.power import seeds_needed

KEYS = st.integers(0, 2**32 - 1)
SIDES = {1: "greater", -1: "less"}


def draw(key: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(key).normal(0.9, 0.01, shape)


def by_seed(values, first: int = 0) -> dict[int, float]:
    return {first + place: float(value) for place, value in enumerate(values)}


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(2, 12), st.sampled_from([1, -1]))
def test_pairs_are_tested_as_scipy_does(key: int, n: int, sign: int) -> None:
    a, b = draw(key, 2, n)

    found = difference(by_seed(a), by_seed(b))

    expected = stats.ttest_rel(a, b)
    assert found is not None and (found.method, found.n) == ("paired", n)
    assert found.above(0.0, sign) == pytest.approx(stats.ttest_rel(a, b, alternative=SIDES[sign]).pvalue)
    assert (found.interval().low, found.interval().high) == pytest.approx(tuple(expected.confidence_interval()))


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(2, 9), st.integers(2, 9), st.sampled_from([1, -1]))
def test_sides_without_a_common_seed_are_tested_as_welch_does(key: int, n: int, m: int, sign: int) -> None:
    a, b = draw(key, n), draw(key + 1, m)

    found = difference(by_seed(a), by_seed(b, first=100))

    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found is not None and (found.method, found.df) == ("Welch", pytest.approx(expected.df))
    assert found.above(0.0, sign) == pytest.approx(
        stats.ttest_ind(a, b, equal_var=False, alternative=SIDES[sign]).pvalue
    )
    assert (found.interval().low, found.interval().high) == pytest.approx(tuple(expected.confidence_interval()))


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(3, 12), st.floats(0.001, 0.05))
def test_equivalence_is_tested_as_statsmodels_does(key: int, n: int, margin: float) -> None:
    a, b = draw(key, 2, n)

    found = equivalent(by_seed(a), by_seed(b), margin)

    assert found is not None
    assert found.support == pytest.approx(ttost_paired(a, b, -margin, margin)[0], abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_correction_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(2, 6), st.integers(3, 8))
def test_a_trend_is_the_mean_of_the_slopes_of_the_seeds(key: int, levels: int, n: int) -> None:
    values = draw(key, levels, n)

    found = trend([by_seed(row) for row in values], 1)

    slopes = [stats.linregress(range(levels), column).slope for column in values.T]
    assert found is not None and found.estimate.value == pytest.approx(np.mean(slopes))
    assert found.support == pytest.approx(stats.ttest_1samp(slopes, 0, alternative="greater").pvalue)


def test_the_best_must_beat_each_other_level_and_falls_to_one() -> None:
    low, high, middle = (by_seed(mean + 0.001 * (k * np.arange(5) % 4)) for k, mean in enumerate((0.1, 0.9, 0.5)))

    assert judge([best(high, [low, middle])])[0].decision == "supported"
    fallen = best(middle, [low, high])
    assert fallen is not None and judge([fallen])[0].decision == "refuted"
    assert (fallen.weakest, fallen.ways) == (1, 2)


HIGH, LOW = (0.97, 0.971, 0.98, 0.975, 0.976), (0.90, 0.91, 0.905, 0.9, 0.9)


@pytest.mark.parametrize("few", [(0.1, 0.1), (0.1, 0.1001), (0.1,)])
def test_the_best_needs_three_seeds_against_every_other(few: tuple[float, ...]) -> None:
    """Two pairs that agree by chance would seem to have no spread."""
    found = best(by_seed(HIGH), [by_seed(LOW), by_seed(few)])

    assert found is not None and judge([found])[0].decision == "undecided"
    assert (found.support, found.estimate.n, found.fewest) == (1.0, len(few), len(few))
    assert seeds_needed(found, 0.025) == 3


def test_too_few_seeds_somewhere_do_not_hide_who_is_plainly_above() -> None:
    found = best(by_seed(LOW), [by_seed((0.99, 0.99)), by_seed(HIGH)])

    assert found is not None and judge([found])[0].decision == "refuted"
    assert (found.weakest, found.estimate.n) == (1, 5), "the sentence is about the level that is above it"


def test_a_seed_or_two_in_common_do_not_make_pairs_of_enough_seeds() -> None:
    a, b = draw(9, 2, 5)

    one_shared, three_shared = difference(by_seed(a), by_seed(b, 4)), difference(by_seed(a), by_seed(b, 2))
    small = difference(by_seed(a[:2]), by_seed(b, 1))

    assert one_shared is not None and (one_shared.method, one_shared.n) == ("Welch", 5)
    assert one_shared.above(0.0) == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue)
    assert three_shared is not None and (three_shared.method, three_shared.n) == ("paired", 3)
    assert small is not None and (small.method, small.n) == ("paired", 1)


def test_effects_are_in_standard_deviations() -> None:
    a, b = draw(3, 2, 6)
    d = a - b

    paired, welch = difference(by_seed(a), by_seed(b)), difference(by_seed(a), by_seed(b, 50))

    assert paired is not None and paired.effect == pytest.approx(d.mean() / d.std(ddof=1) * (1 - 3 / 19))
    both = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert welch is not None and welch.effect == pytest.approx(d.mean() / both * (1 - 3 / 39))


def decision(evidence, seeds: int = 3) -> str:
    assert evidence is not None and evidence.estimate.n == seeds
    return judge([evidence])[0].decision


@pytest.mark.parametrize("seeds", [6, 7])
def test_seeds_that_all_agree_give_plain_answers_from_six_on(seeds: int) -> None:
    a, b = by_seed([0.9] * seeds), by_seed([0.8] * seeds)

    assert decision(greater(a, b, 0.05), seeds) == "supported"
    assert decision(greater(b, a, 0.05), seeds) == "refuted"
    assert decision(equivalent(a, a, 0.01), seeds) == "supported"
    assert decision(equivalent(a, b, 0.01), seeds) == "refuted"
    assert decision(near(a, 0.1, 0.02), seeds) == "refuted"
    assert decision(near(by_seed([0.1] * seeds), 0.1, 0.02), seeds) == "supported"
    assert decision(reaches(a, 0.85), seeds) == "supported"


@pytest.mark.parametrize("seeds", [3, 5])
def test_few_seeds_without_spread_are_no_certainty(seeds: int) -> None:
    """Three coins that show heads: p = 1/8 of a sign test, either side counted 1/4."""
    found = greater(by_seed([0.9] * seeds), by_seed([0.8] * seeds), 0.0)

    assert found is not None and found.support == stats.binomtest(seeds, seeds, alternative="greater").pvalue
    assert found.p == 2 * 0.5**seeds and found.signs and decision(found, seeds) == "undecided"


def test_without_spread_the_smaller_side_counts_and_every_correction_does() -> None:
    a, b = by_seed([0.9] * 9), by_seed([0.8] * 7, first=100)

    found = greater(a, b, 0.0)

    assert found is not None and found.support == 0.5**7
    assert judge([found])[0].decision == "supported"
    assert [one.decision for one in judge([found] * 4)] == ["undecided"] * 4


@pytest.mark.parametrize(("level", "answer"), [(0.025, 6), (0.025 / 3, 7), (0.025 / 12, 9)])
def test_seeds_without_spread_need_as_many_as_a_sign_test(level: float, answer: int) -> None:
    found = near(by_seed([0.1] * 3), 0.1, 0.02)

    assert found is not None and seeds_needed(found, level) == answer


@settings(deadline=None)
@given(st.integers(1, 9999), st.integers(0, 9999), st.integers(3, 6))
def test_a_difference_of_exactly_the_margin_decides_nothing(a: int, step: int, n: int) -> None:
    """However the two numbers round in binary."""
    left, right, margin = (a + step) / 10_000, a / 10_000, step / 10_000
    assume(margin > 0)

    for found in (greater(by_seed([left] * n), by_seed([right] * n), margin), near(by_seed([left] * n), right, margin)):
        assert decision(found, n) == "undecided"


def test_without_any_difference_nothing_is_above() -> None:
    same = by_seed([0.1, 0.2, 0.7])

    assert decision(greater(same, same, 0.0)) == "undecided"
    assert decision(best(same, [same, same])) == "undecided"
    assert decision(trend([same, same, same], 1)) == "undecided"


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(seeds: int) -> None:
    found = greater(by_seed([0.9] * seeds), by_seed([0.1] * seeds), 0.0)

    assert decision(found, seeds) == "undecided"


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    single = mean([0.5])

    assert single is not None and single.interval() is None and single.above(0.1) == 0.5
    assert mean([]) is None and difference({}, {0: 1.0}) is None and difference({1: 1.0}, {2: 1.0}) is None


def at(*times: float, reached: bool = True) -> dict[int, Reached]:
    return {seed: Reached(time, reached) for seed, time in enumerate(times)}


def test_times_are_compared_as_ratios() -> None:
    a, b = (30.0, 28.0, 35.0, 31.0), (100.0, 85.0, 120.0, 110.0)

    found = sooner(at(*a), at(*b))

    assert found is not None and found.estimate.value == pytest.approx(np.log(np.divide(a, b)).mean())
    assert found.support == pytest.approx(stats.ttest_rel(np.log(a), np.log(b), alternative="less").pvalue)
    assert decision(found, 4) == "supported" and found.exact


def test_a_target_that_b_never_reached_counts_from_the_end_of_its_curve() -> None:
    """If b had gone on it would have been later still: the support for a is at most understated."""
    a, b = at(30, 28, 35, 31), at(100, 85, 120, 110)
    ended = b | {0: Reached(100, False), 1: Reached(85, False)}

    found = sooner(a, ended)

    assert found is not None and found.support == pytest.approx(sooner(a, b).support)
    assert decision(found, 4) == "supported" and not found.exact


@pytest.mark.parametrize("n", [4, 8])
def test_a_target_that_a_missed_is_judged_by_the_order_of_pairs(n: int) -> None:
    """One seed of a ended below the target after b had reached it; in the others a was first."""
    a, b = at(*[10.0] * n) | {0: Reached(99.0, False)}, at(*[50.0] * n)

    found = sooner(a, b)

    assert found is not None
    assert found.support == pytest.approx(stats.binomtest(n - 1, n, 0.5, alternative="greater").pvalue)


@pytest.mark.parametrize("a_ends", [5.0, 500.0])
def test_who_stopped_early_has_not_lost(a_ends: float) -> None:
    found = sooner(at(a_ends, a_ends, a_ends, reached=False), at(50.0, 51.0, 52.0))

    assert decision(found) == ("undecided" if a_ends < 50 else "refuted")


def test_who_comes_with_its_last_evaluation_is_before_those_that_were_not_there_by_then() -> None:
    came, ended = at(*[5.0] * 8), at(*[5.0] * 8, reached=False)

    assert decision(sooner(came, ended), 8) == "supported" and decision(sooner(ended, came), 8) == "refuted"
    few = sooner(at(*[5.0] * 3), at(*[5.0] * 3, reached=False))
    assert few is not None and few.support == 0.5**3 and seeds_needed(few, 0.025) == 6
    assert decision(sooner(ended, ended), 8) == decision(sooner(came, came), 8) == "undecided"


def test_what_never_comes_loses_to_what_came_and_to_nothing_else() -> None:
    never = {seed: Reached(np.inf, False) for seed in range(6)}
    some = at(*[10.0] * 5, 9.0) | {0: Reached(99.0, False)}

    assert decision(sooner(at(*[10.0] * 6), never), 6) == "supported"
    assert decision(sooner(never, at(*[10.0] * 6)), 6) == "refuted"
    assert decision(sooner(never, never), 6) == "undecided"
    found = sooner(some, never)
    assert found is not None and found.support == pytest.approx(stats.binomtest(5, 6, 0.5, "greater").pvalue)


def test_where_nobody_reached_it_nothing_is_known() -> None:
    assert decision(sooner(at(10, 20, 30, reached=False), at(1, 2, 3, reached=False))) == "undecided"


def test_looks_double_up_to_the_most_seeds() -> None:
    assert [schedule(3, most) for most in (3, 4, 8, 9, 24)] == [(3,), (3, 4), (3, 8), (3, 6, 9), (3, 6, 12, 24)]
    assert schedule(1, 12) == (3, 6, 12)
