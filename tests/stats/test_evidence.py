"""The tests behind a verdict are those of scipy and statsmodels, and keep their heads where there is no spread."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

from cifarsweep.stats.estimate import Sample, contrast, difference, mean
from cifarsweep.stats.evidence import Reached, best, equivalent, greater, near, not_worse, reaches, sooner, trend
from cifarsweep.stats.multiplicity import holm, judge, schedule
from cifarsweep.stats.power import seeds_needed

KEYS = st.integers(0, 2**32 - 1)
SIDES = {1: "greater", -1: "less"}
#: Of an accuracy on 10,000 images.
FLOOR = 1e-4**2 / 12


def draw(key: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(key).normal(0.9, 0.01, shape)


def cell(values, floor: float = FLOOR) -> list[Sample]:
    """A side of one cell."""
    return [Sample(tuple(map(float, values)), floor)]


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(2, 9), st.integers(2, 9), st.sampled_from([1, -1]))
def test_two_cells_are_tested_as_welch_does(key: int, n: int, m: int, sign: int) -> None:
    """Whatever the numbers of seeds: all of them count, and none are paired."""
    a, b = draw(key, n), draw(key + 1, m)

    found = difference(cell(a, 0.0), cell(b, 0.0))

    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found is not None and (found.method, found.df) == ("Welch", pytest.approx(expected.df))
    assert found.above(0.0, sign) == pytest.approx(
        stats.ttest_ind(a, b, equal_var=False, alternative=SIDES[sign]).pvalue
    )
    assert (found.interval().low, found.interval().high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.n == min(n, m)


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(3, 9), st.floats(1e-5, 0.1))
def test_a_variance_below_its_floor_counts_as_the_floor(key: int, n: int, sd: float) -> None:
    a, b = draw(key, n), draw(key + 1, n)

    found = difference(cell(a, sd**2), cell(b))

    std = max(float(a.std(ddof=1)), sd)
    expected = stats.ttest_ind_from_stats(a.mean(), std, n, b.mean(), b.std(ddof=1), n, equal_var=False)
    assert found is not None and found.floored == (std == sd)
    assert 2 * min(found.above(0.0), found.above(0.0, -1)) == pytest.approx(expected.pvalue)


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(2, 12), st.sampled_from([1, -1]))
def test_one_cell_is_tested_as_scipy_does(key: int, n: int, sign: int) -> None:
    values = draw(key, n)

    found = mean(cell(values))

    expected = stats.ttest_1samp(values, 0.9)
    assert found is not None and (found.method, found.effect) == ("one-sample", None)
    assert found.above(0.9, sign) == pytest.approx(stats.ttest_1samp(values, 0.9, alternative=SIDES[sign]).pvalue)
    assert (found.interval().low, found.interval().high) == pytest.approx(tuple(expected.confidence_interval()))


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(3, 12), st.floats(0.001, 0.05))
def test_equivalence_is_tested_as_statsmodels_does(key: int, n: int, margin: float) -> None:
    a, b = draw(key, 2, n)

    found = equivalent(cell(a), cell(b), margin)

    assert found is not None and found.sides == 1
    assert found.support == pytest.approx(ttost_ind(a, b, -margin, margin, usevar="unequal")[0], abs=1e-12)


@pytest.mark.long
@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_correction_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@settings(deadline=None, max_examples=50)
@given(KEYS, st.integers(2, 6), st.integers(3, 8))
def test_a_trend_is_the_slope_of_the_means(key: int, levels: int, n: int) -> None:
    """Its variance is the sum of those of its terms; with equal variances it is Student's t of a contrast."""
    values = draw(key, levels, n)

    found = trend([cell(row) for row in values], 1)

    places = np.arange(levels)
    weights = (places - places.mean()) / ((places - places.mean()) ** 2).sum()
    assert found is not None
    assert found.estimate.value == pytest.approx(stats.linregress(places, values.mean(axis=1)).slope)
    assert found.estimate.error == pytest.approx(math.sqrt((weights**2 * values.var(axis=1, ddof=1) / n).sum()))
    alike = trend([cell(row) for row in values.mean(axis=1, keepdims=True) + values[:1] - values[0].mean()], 1)
    used = np.count_nonzero(weights**2 > 1e-12)
    df = (weights**2).sum() ** 2 / (weights**4).sum() * (n - 1)
    assert alike is not None and used - 1 <= levels and alike.estimate.df == pytest.approx(df)


@pytest.mark.parametrize("sign", [1, -1])
def test_greater_best_and_trend_of_two_cells_are_one_test(sign: int) -> None:
    low, high = (cell(row) for row in draw(4, 2, 4))

    above, top, rising = greater(high, low, 0.0), best(high, [low]), trend([low, high], 1)

    expected = stats.ttest_ind(high[0].values, low[0].values, equal_var=False).pvalue
    assert [found.p for found in (above, top, rising)] == pytest.approx([expected] * 3)


def test_cells_of_a_side_count_with_the_mean_of_their_means() -> None:
    """Two cells against one: (m1 + m2) / 2 - m3, as the contrast with the degrees of freedom of Satterthwaite."""
    first, second, other = draw(5, 3), draw(6, 4), draw(7, 5)

    found = difference([*cell(first), *cell(second)], cell(other))

    parts = [first.var(ddof=1) / 3 / 4, second.var(ddof=1) / 4 / 4, other.var(ddof=1) / 5]
    df = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3 + parts[2] ** 2 / 4)
    assert found is not None and (found.method, found.n) == ("contrast", 3)
    assert found.value == pytest.approx((first.mean() + second.mean()) / 2 - other.mean())
    assert (found.error, found.df) == pytest.approx((math.sqrt(sum(parts)), df))


def test_the_best_must_beat_each_other_level_and_falls_to_one() -> None:
    low, high, middle = (cell(mean + 0.001 * (k * np.arange(5) % 4)) for k, mean in enumerate((0.1, 0.9, 0.5)))

    assert judge([best(high, [low, middle])])[0].decision == "supported"
    fallen = best(middle, [low, high])
    assert fallen is not None and judge([fallen])[0].decision == "refuted"
    assert (fallen.weakest, fallen.ways) == (1, 2)


HIGH, LOW = (0.97, 0.971, 0.98, 0.975, 0.976), (0.90, 0.91, 0.905, 0.9, 0.9)


@pytest.mark.parametrize("few", [(0.1, 0.1), (0.1, 0.1001), (0.1,)])
def test_the_best_needs_three_seeds_against_every_other(few: tuple[float, ...]) -> None:
    """Two that agree by chance would seem to have no spread."""
    found = best(cell(HIGH), [cell(LOW), cell(few)])

    assert found is not None and judge([found])[0].decision == "undecided"
    assert (found.support, found.estimate.n, found.fewest) == (1.0, len(few), len(few))
    assert seeds_needed(found, 0.025) == 3


def test_too_few_seeds_somewhere_do_not_hide_who_is_plainly_above() -> None:
    found = best(cell(LOW), [cell((0.99, 0.99)), cell(HIGH)])

    assert found is not None and judge([found])[0].decision == "refuted"
    assert (found.weakest, found.estimate.n) == (1, 5), "the sentence is about the level that is above it"


def test_effects_are_in_standard_deviations() -> None:
    a, b = draw(3, 2, 6)

    found = difference(cell(a), cell(b))

    both = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert found is not None and found.effect == pytest.approx((a.mean() - b.mean()) / both * (1 - 3 / 39))


def decision(evidence, seeds: int = 3) -> str:
    assert evidence is not None and evidence.estimate.n == seeds
    return judge([evidence])[0].decision


@pytest.mark.parametrize("seeds", [3, 7])
def test_seeds_that_all_agree_give_plain_answers(seeds: int) -> None:
    a, b = cell([0.9] * seeds), cell([0.8] * seeds)

    assert decision(greater(a, b, 0.05), seeds) == "supported"
    assert decision(greater(b, a, 0.05), seeds) == "refuted"
    assert decision(equivalent(a, a, 0.01), seeds) == "supported"
    assert decision(equivalent(a, b, 0.01), seeds) == "refuted"
    assert decision(near(a, 0.1, 0.02), seeds) == "refuted"
    assert decision(near(cell([0.1] * seeds), 0.1, 0.02), seeds) == "supported"
    assert decision(reaches(a, 0.85), seeds) == "supported"


def test_seeds_that_agree_are_no_surer_than_seeds_that_nearly_do() -> None:
    """Three at 10.00 %, and three of which one image more is right, within what guesses spread on 10,000 images."""
    guessing = 0.1 * 0.9 / 10_000

    alike, nearly = (near(cell(values, guessing), 0.1, 0.02) for values in ([0.1] * 3, [0.1, 0.1, 0.1001]))

    assert alike is not None and nearly is not None and alike.estimate.floored and nearly.estimate.floored
    assert alike.support == pytest.approx(nearly.support, rel=0.01)
    assert alike.support == pytest.approx(stats.t.sf(0.02 / math.sqrt(guessing / 3), 2))


def test_numbers_of_32_bits_are_never_quite_alike() -> None:
    """A loss of nets that learn nothing: the floor is the rounding of the numbers."""
    found = greater(cell([2.3025851] * 3, 0.0), cell([2.3025852] * 3, 0.0), 0.0)

    assert found is not None and found.estimate.floored and decision(found) == "undecided"
    assert decision(greater(cell([2.31] * 3, 0.0), cell([2.3025851] * 3, 0.0), 0.0)) == "supported"
    assert decision(reaches(cell([0.0] * 3, 0.0), 0.5, -1)) == "supported", "nothing but zeros has no rounding"


@pytest.mark.parametrize("margin", [0.0, 0.002])
def test_only_what_can_be_wrong_either_way_is_doubled(margin: float) -> None:
    a, b = draw(8, 2, 4)

    found = greater(cell(a), cell(b), margin)

    tests = [stats.ttest_ind(a - margin, b, equal_var=False, alternative=one).pvalue for one in ("greater", "less")]
    assert found is not None and (found.support, found.refute) == pytest.approx(tuple(tests))
    assert found.p == pytest.approx((1 if margin else 2) * min(tests))
    assert not_worse(cell(a), cell(b), 0.002).p == pytest.approx(
        min(stats.ttest_ind(a + 0.002, b, equal_var=False, alternative=one).pvalue for one in ("greater", "less"))
    )


@settings(deadline=None, max_examples=50)
@given(KEYS, st.sampled_from([0.05, 0.01, 0.2]), st.sampled_from(["above", "margin", "less", "within", "best"]))
def test_the_interval_that_decides_lies_where_the_verdict_says(key: int, level: float, kind: str) -> None:
    a, b, c = (cell(row) for row in draw(key, 3, 3) + [[0.01], [0.0], [0.005]])
    found, holds = {
        "above": (greater(a, b, 0.0), (0.0, math.inf)),
        "margin": (greater(a, b, 0.005), (0.005, math.inf)),
        "less": (not_worse(a, b, 0.005, -1), (-math.inf, 0.005)),
        "within": (equivalent(a, b, 0.02), (-0.02, 0.02)),
        "best": (best(a, [b, c]), (0.0, math.inf)),
    }[kind]

    ends = found.decisive(level)

    inside = holds[0] < ends.low and ends.high < holds[1]
    outside = ends.high < holds[0] or ends.low > holds[1]
    decided = ("supported" if found.support < found.refute else "refuted") if found.p <= level else "undecided"
    assert decided == ("supported" if inside else "refuted" if outside else "undecided")


@settings(deadline=None)
@given(st.integers(1, 9999), st.integers(0, 9999), st.integers(3, 6))
def test_a_difference_of_exactly_the_margin_decides_nothing(a: int, step: int, n: int) -> None:
    """However the two numbers round in binary."""
    left, right, margin = (a + step) / 10_000, a / 10_000, step / 10_000
    assume(margin > 0)

    for found in (greater(cell([left] * n), cell([right] * n), margin), near(cell([left] * n), right, margin)):
        assert decision(found, n) == "undecided"


def test_without_any_difference_nothing_is_above() -> None:
    same = cell([0.1, 0.2, 0.7])

    assert decision(greater(same, same, 0.0)) == "undecided"
    assert decision(best(same, [same, same])) == "undecided"
    assert decision(trend([same, same, same], 1)) == "undecided"


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(seeds: int) -> None:
    found = greater(cell([0.9] * seeds), cell([0.1] * seeds), 0.0)

    assert decision(found, seeds) == "undecided"


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    single = mean(cell([0.5]))

    assert single is not None and single.interval() is None and single.above(0.1) == 0.5
    assert mean(cell([])) is None and difference(cell([]), cell([1.0])) is None and contrast([]) is None
    assert trend([cell([0.1, 0.2, 0.3])], 1) is None


def at(*times: float, reached: bool = True, end: float = 0.0, step: float = 1.0) -> list[list[Reached]]:
    return [[Reached(time, reached, step, max(end, 0.0 if math.isinf(time) else time)) for time in times]]


def test_times_are_compared_as_ratios() -> None:
    a, b = (30.0, 28.0, 35.0, 31.0), (100.0, 85.0, 120.0, 110.0)

    found = sooner(at(*a), at(*b))

    assert found is not None and found.estimate.value == pytest.approx(np.log(a).mean() - np.log(b).mean())
    assert found.support == pytest.approx(
        stats.ttest_ind(np.log(a), np.log(b), equal_var=False, alternative="less").pvalue
    )
    assert decision(found, 4) == "supported" and found.exact and found.sides == 2


@pytest.mark.parametrize("late", [(9.0, 9.0, 9.0), (9.0, 9.0, 10.0)])
@pytest.mark.parametrize("early", [(5.0, 5.0, 5.0), (5.0, 5.0, 6.0)])
def test_a_time_is_known_to_the_step_between_evaluations(early, late) -> None:
    """Three nets that arrive at epoch 5 against three at 9 are as sure as 5, 5, 6 against 9."""
    assert decision(sooner(at(*early), at(*late))) == "supported"
    assert decision(sooner(at(*late), at(*early))) == "refuted"
    assert decision(sooner(at(*early, step=5.0), at(*late, step=9.0))) == "undecided", "evaluated too rarely"
    alike = sooner(at(5.0, 5.0, 5.0), at(9.0, 9.0, 9.0))
    error = math.sqrt((1 / 5**2 + 1 / 9**2) / 12 / 3)
    assert alike is not None and alike.estimate.error == pytest.approx(error)


def test_a_run_that_never_arrives_counts_as_the_end_of_its_budget() -> None:
    came, ended = at(30.0, 28.0, 35.0), at(100.0, 100.0, 100.0, reached=False)

    found = sooner(came, ended)

    full = sooner(came, at(100.0, 100.0, 100.0))
    assert found is not None and found.p == full.p and not found.exact and decision(found) == "supported"
    lost = sooner(at(30.0, 28.0, 35.0, end=100.0), at(math.inf, math.inf, math.inf, reached=False, step=0.0))
    assert decision(lost) == "supported", "what diverged is as late as the longest budget"


@pytest.mark.parametrize("a_ends", [5.0, 500.0])
def test_who_stopped_early_has_not_lost(a_ends: float) -> None:
    """Nor won: a shorter budget says nothing of a time after it."""
    found = sooner(at(a_ends, a_ends, a_ends, reached=False), at(50.0, 51.0, 52.0))

    assert decision(found) == ("undecided" if a_ends < 50 else "refuted")


def test_one_of_many_that_never_arrives_makes_a_spread() -> None:
    some = [[*at(*[10.0] * 4)[0], Reached(99.0, reached=False, step=1.0, end=99.0)]]

    assert decision(sooner(some, at(*[50.0] * 5)), 5) == "undecided"


def test_where_nobody_reached_it_nothing_is_known() -> None:
    assert decision(sooner(at(10, 20, 30, reached=False), at(1, 2, 3, reached=False))) == "undecided"
    never = at(math.inf, math.inf, math.inf, reached=False, step=0.0)
    assert decision(sooner(never, never)) == "undecided" and sooner(at(), at(1.0)) is None


def test_looks_double_up_to_the_most_seeds() -> None:
    assert [schedule(3, most) for most in (3, 4, 8, 9, 24)] == [(3,), (3, 4), (3, 8), (3, 6, 9), (3, 6, 12, 24)]
    assert schedule(1, 12) == (3, 6, 12)
