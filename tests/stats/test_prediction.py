"""The interval in which further runs would end, against SciPy and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from cifarsweep.stats import prediction, summary

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@given(values=VALUES, runs=st.integers(1, 50))
def test_the_interval_is_that_of_student_s_t(values: list[float], runs: int) -> None:
    found = summary(values)
    interval = prediction(found, runs)

    if interval is None:
        assert found.interval is None
        return
    n, sd = len(values), float(np.std(values, ddof=1))
    low, high = t.interval(0.95, n - 1, loc=np.mean(values), scale=sd * math.sqrt(1 / n + 1 / runs))
    assert interval.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert interval.high == pytest.approx(high, rel=1e-9, abs=1e-9)


@given(values=VALUES, runs=st.integers(1, 50))
def test_more_runs_give_a_narrower_interval_and_never_one_inside_that_of_the_mean(
    values: list[float], runs: int
) -> None:
    found = summary(values)
    if found.interval is None:
        return
    one, more = prediction(found, runs), prediction(found, runs + 1)

    assert one is not None and more is not None
    assert one.half >= more.half >= found.interval.half


@pytest.mark.parametrize("values", [[0.5], [0.1, 0.1, 0.1]])
def test_seeds_without_a_spread_give_no_interval(values: list[float]) -> None:
    assert prediction(summary(values)) is None


@pytest.mark.parametrize("runs", [1, 5])
def test_95_of_100_further_results_end_inside(runs: int) -> None:
    rng, inside, rounds = np.random.default_rng(0), 0, 4000
    for _ in range(rounds):
        interval = prediction(summary(rng.normal(0.9, 0.01, 3).tolist()), runs)
        further = rng.normal(0.9, 0.01, runs).mean()
        inside += interval is not None and interval.low <= further <= interval.high

    # Four standard errors of a share of 95 %.
    assert abs(inside / rounds - 0.95) < 4 * math.sqrt(0.95 * 0.05 / rounds)
