"""The curves of single trials: thinned, of what a page has room for, and said where they are left out."""

from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report.figures import unpacked
from cifarsweep.report.study_page import study_view
from cifarsweep.report.trial_curves import POINTS, trial_curves


def test_a_trial_keeps_its_own_curve_and_equal_steps_are_sent_once(make: Any) -> None:
    report = make.finished(make.study({}, seeds=2))

    packed = trial_curves(report, report.trials)

    assert [metric["name"] for metric in packed["metrics"]] == ["val/accuracy", "train/accuracy", "train/loss"]
    assert packed["left_out"] == [] and len(packed["steps"]) == 2  # of evaluations, and of every tenth step
    curve = packed["metrics"][0]["curves"][1]
    steps, values = report.series[1, "val/accuracy"]
    assert unpacked(packed["steps"][curve["steps"]]).tolist() == steps.tolist()
    assert unpacked(curve["values"]).tolist() == pytest.approx(values.tolist(), rel=1e-6)


def test_long_curves_are_thinned_and_gaps_left_out(make: Any) -> None:
    steps = np.arange(1, 5001)
    spiked = np.where(steps == 2500, 9.0, 1.0)
    series = {(0, "val/loss"): (steps, np.where(steps % 2 == 0, spiked, np.nan))}
    trials = [make.trial(0, "base", 0)]

    packed = trial_curves(make.report(make.study({}, seeds=1), trials, series), trials)

    values = unpacked(packed["metrics"][0]["curves"][0]["values"])
    assert 2 < values.size <= POINTS and values.max() == 9.0 and np.isfinite(values).all()


def test_metrics_without_room_are_named_and_the_first_ones_stay(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    report = make.finished(make.study({}, seeds=3))
    monkeypatch.setattr("cifarsweep.report.trial_curves.POINTS_OF_A_PAGE", 3 * 12 + 5)

    packed = study_view(analyse(report))["payload"]["trials"]

    assert [metric["name"] for metric in packed["metrics"]] == ["val/accuracy"]
    assert packed["left_out"] == ["Training accuracy", "Training loss"]


def test_each_trial_has_its_own_time_where_there_is_room(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    report = make.finished(make.study({}, seeds=2))

    clocks = trial_curves(report, report.trials)["clocks"]

    assert list(clocks) == ["elapsed_s"] and list(clocks["elapsed_s"]) == [0, 1]
    steps, seconds = report.series[1, "elapsed_s"]
    clock = clocks["elapsed_s"][1]
    assert unpacked(clock["steps"])[-1] == steps[-1] and unpacked(clock["at"])[-1] == pytest.approx(seconds[-1])
    monkeypatch.setattr("cifarsweep.report.trial_curves._MOST_CLOCKS", 1)
    assert trial_curves(report, report.trials)["clocks"] == {}
