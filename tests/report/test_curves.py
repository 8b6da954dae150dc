"""Curves are thinned without losing their extremes, and packed without losing what a screen shows."""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarsweep.report.figures import FEWEST_POINTS, KNOTS, POINTS, curve_payload, packed, thinned, unpacked
from cifarsweep.stats import band

STEPS = np.arange(5000)


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_infinity=False), max_size=30))
def test_floats_come_back(values: list[float]) -> None:
    back = unpacked(packed(np.array(values)))

    np.testing.assert_array_equal(back.astype(np.float32), np.array(values, np.float32))


@settings(deadline=None)
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=30))
def test_whole_numbers_come_back_exactly(values: list[int]) -> None:
    field = packed(np.array(values, np.float64))

    assert field["dtype"] == "i4"
    assert unpacked(field).tolist() == values


def test_a_loss_that_explodes_is_not_drawn_and_warns_nobody():
    with warnings.catch_warnings(action="error"):
        assert unpacked(packed([1e300, 0.5])).tolist() == [math.inf, 0.5]


def test_packed_bytes_are_little_endian() -> None:
    assert packed([1])["bdata"] == "AQAAAA=="


def test_a_spike_of_one_step_survives() -> None:
    values = np.sin(STEPS / 500)
    values[1234] = 9.0

    found = thinned(band([(STEPS, values)]), POINTS)

    assert found.grid.size <= POINTS
    assert found.mean.max() == 9.0
    assert (found.grid[0], found.grid[-1]) == (0, 4999)


def test_a_spike_of_the_bands_edge_survives() -> None:
    low, high = np.zeros(5000), np.zeros(5000)
    low[777], high[777] = -5.0, 5.0

    found = thinned(band([(STEPS, low), (STEPS, high)]), POINTS)

    assert 777 in found.grid
    assert found.grid.size <= POINTS


def test_short_curves_stay_whole() -> None:
    curve = band([(STEPS[:50], STEPS[:50] / 7)])

    assert thinned(curve, POINTS) is curve


def test_payload_has_a_band_for_each_cell_and_the_mean_of_its_seeds(make: Any) -> None:
    report = make.finished(make.study())

    payload = curve_payload(report)

    metrics = {metric["name"]: metric["curves"] for metric in payload["metrics"]}
    assert list(metrics) == ["val/accuracy", "train/accuracy", "train/loss"]
    curve = metrics["val/accuracy"][0]
    numbers = [trial.number for trial in report.trials if trial.cell == report.study.cells[0].name]
    expected = np.mean([report.series[number, "val/accuracy"][1] for number in numbers], axis=0)
    np.testing.assert_allclose(unpacked(curve["mean"]), expected, rtol=1e-6)
    assert curve["n"] == 3


def test_clock_tells_each_axis_at_the_steps(make: Any) -> None:
    report = make.finished(make.study(), points=1000)

    payload = curve_payload(report)

    assert [axis["name"] for axis in payload["axes"]] == ["epoch", "images", "elapsed_s"]
    clock = payload["clocks"][0]
    assert unpacked(clock["epoch"]["steps"]).tolist() == [10, 10_000]
    assert unpacked(clock["epoch"]["at"]).tolist() == pytest.approx([0.1, 100])


def test_an_axis_that_rises_unevenly_keeps_its_shape(make: Any) -> None:
    study = make.study({}, seeds=1)
    series = {(0, "elapsed_s"): (STEPS, STEPS**1.5), (0, "val/loss"): (STEPS, STEPS * 1.0)}

    clock = curve_payload(make.report(study, [make.trial(0, "base", 0)], series))["clocks"][0]["elapsed_s"]

    assert unpacked(clock["steps"]).size == KNOTS
    drawn = np.interp(STEPS, unpacked(clock["steps"]), unpacked(clock["at"]))
    assert np.abs(drawn - STEPS**1.5).max() < 5000**1.5 / 1000  # less than a pixel


def test_time_never_runs_backwards_where_a_slow_seed_stops(make: Any) -> None:
    study = make.study({}, seeds=2)
    trials = [make.trial(0, "base", 0), make.trial(1, "base", 1, state="leased", outcome=None, final={})]
    fast, slow = (STEPS[:50], STEPS[:50] * 1.0), (STEPS[:20], STEPS[:20] * 9.0)
    series = {(0, "elapsed_s"): fast, (1, "elapsed_s"): slow, (0, "val/loss"): fast, (1, "val/loss"): slow}

    payload = curve_payload(make.report(study, trials, series))

    assert (np.diff(unpacked(payload["clocks"][0]["elapsed_s"]["at"])) >= 0).all()
    assert unpacked(payload["metrics"][0]["curves"][0]["n"]).tolist() == [2] * 20 + [1] * 30


@pytest.mark.parametrize("cells", [1, 400])
def test_many_cells_have_fewer_points_each(make: Any, cells: int) -> None:
    study = make.study({"batch_size": tuple(range(1, cells + 1))}, seeds=1)
    trials = [make.trial(place, cell.name, 0) for place, cell in enumerate(study.cells)]
    wave = (STEPS, np.sin(STEPS / 9.0))
    report = replace(make.report(study, trials), series={(place, "val/loss"): wave for place in range(cells)})

    curve = curve_payload(report)["metrics"][0]["curves"][0]

    points = unpacked(curve["mean"]).size
    assert FEWEST_POINTS <= points <= POINTS
    assert points > 450 if cells == 1 else points <= 150_000 // 400
