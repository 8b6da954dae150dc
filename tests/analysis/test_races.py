"""Times: how long a target took, who never came there, and which times can't be compared."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.studies import FIRST, HIGH, LOW

from cifarsweep.analysis.samples import metrics_needed
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.render import render_study
from cifarsweep.report.summary import study_fields, verdict_lines
from cifarsweep.report.verdict_text import sentence, warning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda make, one: {"attempts": (make.attempt(1, device="T4"),)}, "on different devices (T4, cpu)"),
        (lambda make, one: {"final": one.final | {"gpu/slots_busy": 8.0}}, "different numbers of trials shared"),
    ],
)
def test_a_race_between_unlike_machines_warns_everywhere(tried: Any, make: Any, change: Any, words: str) -> None:
    report = tried({LOW: [0.9, 0.9, 0.9], HIGH: [0.9, 0.9, 0.9]}, FIRST)
    ends = [(one.cell, one.number, 0.9, (1 if one.cell == HIGH else 2) + 0.01 * one.seed) for one in report.trials]
    trials = [replace(one, final=one.final | {"gpu/slots_busy": 1.0}) for one in report.trials]
    trials = [replace(one, **change(make, one)) if one.cell == LOW else one for one in trials]
    report = replace(report, trials=tuple(trials), series=reached(make, *ends))

    (verdict,) = verdicts(report)

    assert (
        words in warning(verdict)
        and words in verdict_lines(analyse(report))[0]
        and words in render_study(analyse(report))
    )
    assert study_fields(analyse(report))["verdicts"][0]["warning"] == warning(verdict)


def reached(make: Any, *ends: tuple[str, int, float, float]) -> dict[Any, Any]:
    """Curves of ten steps: for each trial (cell, number, accuracy at the end, seconds a step)."""
    steps = np.arange(1, 11)
    series: dict[Any, Any] = {}
    for _, number, accuracy, pace in ends:
        series[number, "val/accuracy"] = (steps, accuracy * steps / 10)
        series[number, "elapsed_s"] = (steps, steps * pace)
    return series


def test_the_way_to_a_target_is_read_off_the_curves(tried: Any, make: Any) -> None:
    """LOW is at 0.8 after 9 steps, HIGH, twice as fast, after 9 steps as well, or never."""
    report = tried({LOW: [0.9, 0.9, 0.9], HIGH: [0.9, 0.9, 0.9]}, FIRST)
    ends = [(one.cell, one.number, 0.9, (1 if one.cell == HIGH else 2) + 0.01 * one.seed) for one in report.trials]

    (all_there,) = verdicts(replace(report, series=reached(make, *ends)))
    (late,) = verdicts(
        replace(report, series=reached(make, *((c, n, 0.7 if c == LOW else a, p) for c, n, a, p in ends)))
    )

    assert all_there.decision == "supported" and all_there.estimate == pytest.approx(0.5, abs=0.01)
    assert "80.0\N{NARROW NO-BREAK SPACE}% after 0.5 of the training time, sooner" in sentence(all_there)
    assert late.decision == "supported" and "was reached by 3 of 3 seeds against 0 of 3" in sentence(late)
    assert (
        late.estimate is None and study_fields(analyse(replace(report, series={})))["verdicts"][0]["estimate"] is None
    )
    assert metrics_needed(report.study) == ["elapsed_s", "val/accuracy"]


@pytest.mark.parametrize("evaluated", [True, False])
@pytest.mark.parametrize(("lost", "expected"), [(LOW, "supported"), (HIGH, "refuted")])
def test_who_diverged_never_reaches_the_target(
    tried: Any, make: Any, lost: str, expected: str, evaluated: bool
) -> None:
    """Its curve ends before the other comes to the target, which is no reason to take it for the faster one."""
    steps = FIRST.model_copy(update={"by": "steps"})
    report = tried({LOW: [0.9] * 6, HIGH: [0.9] * 6}, steps)
    trials = [replace(one, outcome="diverged" if one.cell == lost else "finished") for one in report.trials]
    series = reached(make, *((one.cell, one.number, 0.9, 1.0) for one in trials if one.cell != lost))
    for one in trials:
        if one.cell == lost and evaluated:
            series[one.number, "val/accuracy"] = (np.array([2]), np.array([0.1]))

    (verdict,) = verdicts(replace(report, trials=tuple(trials), series=series))

    # The others come at step 9 of 10, give or take a step.
    p = 2 * stats.t.sf(math.log(10 / 9) / math.sqrt(1 / 9**2 / 12 / 6), 5)
    assert (verdict.decision, verdict.p, verdict.estimate) == (expected, pytest.approx(p), None)
    there = "0 of 6 seeds against 6 of 6" if lost == HIGH else "6 of 6 seeds against 0 of 6"
    assert there in sentence(verdict)
