"""What a trial had at a moment of its training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.spec.hypothesis import Hypothesis, moment_of
from cifarsweep.spec.metrics import EPOCH
from cifarsweep.spec.moments import At
from cifarsweep.spec.types import Outcome

#: Evaluations at most this many steps after a moment still count: an epoch need not end at a whole step.
ROUNDING = 0.5
#: The rounding of a count of epochs.
_EPOCH_ROUNDING = 1e-6


def step_of(at: At, epochs: Series | None) -> float | None:
    """The step of a moment; None if the trial ended before it or did not record its epochs."""
    if at.step is not None:
        return at.step
    if epochs is None or not epochs[0].size:
        return None
    steps, done = epochs
    epoch = at.epoch or 0.0
    # No epoch is done at step 0, where nothing is recorded.
    return float(np.interp(epoch, [0.0, *done], [0.0, *steps])) if epoch <= done[-1] + _EPOCH_ROUNDING else None


def covers(series: Series, step: float) -> bool:
    """Whether the series has values up to the step, and before it."""
    steps = series[0]
    return bool(steps.size and steps[0] - ROUNDING <= step <= steps[-1] + ROUNDING)


def diverged_by(trial: ReportTrial, step: float | None) -> bool:
    """Whether the trial had diverged by the step; it had also if it never came to a moment (`step` is None)."""
    return trial.diverged and (step is None or trial.steps <= step + ROUNDING)


def accuracy_at(trial: ReportTrial, step: float | None, report: ReportStudy) -> float | None:
    """The value of the study's metric at a step, between two evaluations on their line; None without any there."""
    return _value_at(report.series.get((trial.number, trial.metric)), step)


def fell_out_by(trial: ReportTrial, step: float | None, report: ReportStudy) -> bool:
    """Whether a trial that fell out had done so by the step: it had diverged, or was no better than a guess.

    What is no better than a guess early on, and trains later, did not fall out.
    """
    if not trial.fell_out or diverged_by(trial, step) or step == math.inf:
        return trial.fell_out
    accuracy = accuracy_at(trial, step, report)
    return trial.guess is not None and accuracy is not None and trial.guess.covers(accuracy)


def _value_at(series: Series | None, step: float | None) -> float | None:
    return float(np.interp(step, *series)) if step is not None and series and covers(series, step) else None


def as_of(trial: ReportTrial, hypothesis: Hypothesis, report: ReportStudy) -> ReportTrial:
    """The trial as it was at the moment that the hypothesis names, with metric and accuracy; unchanged for the end.

    Between two evaluations, the value lies on the line between them. A trial that diverged by then counts as it ended;
    one that ended before, or was not evaluated up to then, has no value. Its training time is that of the whole, and is
    left out. A trial that got beyond a guess in the end has no guess to beat at a moment before.
    """
    at = moment_of(hypothesis)
    if at is None or not trial.done:
        return trial
    end = step_of(at, report.series.get((trial.number, EPOCH)))
    if diverged_by(trial, end):
        return trial
    value = _value_at(report.series.get((trial.number, hypothesis.metric)), end)
    known = {hypothesis.metric: value, trial.metric: accuracy_at(trial, end, report)}
    final = {name: value for name, value in known.items() if value is not None}
    guess = trial.guess if trial.fell_out else None
    return replace(trial, outcome=Outcome.FINISHED, final=final, elapsed_s=None, guess=guess)
