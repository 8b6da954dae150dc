"""Summaries and bands agree with scipy, and say nothing that the seeds do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cifarsweep.stats import band, summary

VALUES = st.floats(-1e3, 1e3)


@settings(deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=12))
def test_interval_is_that_of_scipy(values: list[float]) -> None:
    found = summary(values)

    if found.interval is not None:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (found.interval.low, found.interval.high) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert (found.interval is None) == (np.std(values) <= 1e-12 * np.max(np.abs(values)))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.n, found.min, found.max) == (len(values), min(values), max(values))


def test_one_seed_has_a_mean_but_no_interval() -> None:
    found = summary([0.9])

    assert (found.n, found.mean, found.sd, found.interval) == (1, 0.9, None, None)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="summarize"):
        summary(values)


def test_interval_covers_the_true_mean_as_often_as_promised() -> None:
    draws = np.random.default_rng(0).normal(0.8, 0.1, (4000, 3))

    covered = [found.interval.low <= 0.8 <= found.interval.high for row in draws if (found := summary(row)).interval]

    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_band_at_each_shared_step_is_the_summary_of_the_seeds(seeds: int, points: int, key: int) -> None:
    steps = np.arange(points) * 10
    values = np.random.default_rng(key).normal(size=(seeds, points))

    found = band([(steps, row) for row in values])

    assert found.grid.tolist() == steps.tolist()
    for place in range(points):
        expected = summary(values[:, place].tolist())
        assert found.mean[place] == pytest.approx(expected.mean)
        if seeds == 1:
            assert np.isnan(found.low[place])
        elif seeds == 2:
            assert (found.low[place], found.high[place]) == pytest.approx((expected.min, expected.max))
        else:
            assert found.low[place] == pytest.approx(expected.interval.low)
            assert found.high[place] == pytest.approx(expected.interval.high)


@pytest.mark.parametrize(
    ("values", "shown"),
    [([0.5], False), ([0.5, 0.51], False), ([0.5, 0.51, 0.52], True), ([0.5, 0.5, 0.5], False),
     ([0.97, 0.98, 0.999], False), ([0.02, 0.01, 0.0], False), ([0.1, 0.9, 0.91], False), ([0.97, 0.98, 0.97], True)],
)  # fmt: skip
def test_an_interval_is_shown_of_three_values_or_more_and_where_the_mean_can_be(
    values: list[float], shown: bool
) -> None:
    found = summary(values)

    assert found.shown_interval(0.0, 1.0) == (found.interval if shown else None)


def test_curves_are_interpolated_between_their_points() -> None:
    found = band([([0, 10], [0.0, 1.0]), ([0, 5, 10], [0.0, 0.5, 1.0])])

    assert found.grid.tolist() == [0, 5, 10]
    assert found.mean.tolist() == [0.0, 0.5, 1.0]
    assert found.n.tolist() == [2, 2, 2]


def test_no_curve_counts_outside_its_own_range() -> None:
    found = band([([0, 10, 20], [1.0, 1.0, 1.0]), ([10], [3.0])])

    assert found.n.tolist() == [1, 2, 1]
    assert found.mean.tolist() == [1.0, 2.0, 1.0]
    assert np.isnan(found.low[[0, 2]]).all()
    assert np.isfinite(found.low[1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_seed_that_diverges_leaves_the_mean_where_it_does(bad: float) -> None:
    steps = [1, 2, 3]

    found = band([(steps, [2.0, bad, bad]), (steps, [4.0, 4.0, 4.0])])

    assert found.n.tolist() == [2, 1, 1]
    assert found.mean.tolist() == [3.0, 4.0, 4.0]


def test_a_gap_is_not_bridged() -> None:
    found = band([([0, 10, 20], [1.0, float("nan"), 1.0]), ([5], [7.0])])

    assert found.grid.tolist() == [0, 5, 20]
    assert found.mean.tolist() == [1.0, 7.0, 1.0]


def test_without_curves_there_is_no_band() -> None:
    assert band([]).grid.size == 0
    assert band([([], [])]).grid.size == 0
    assert band([([1], [float("nan")])]).grid.size == 0
