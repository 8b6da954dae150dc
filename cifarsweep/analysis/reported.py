"""Holds numbers that others reported against what the trials of their cells gave.

A report gives one run, or the mean of a few. So its number is held against the interval in which that many runs of ours
would end (`cifarsweep.stats.prediction`), and not against the narrower interval of our mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from cifarsweep.analysis.moments import ROUNDING, covers, diverged_by, fell_out_by, step_of
from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.analysis.reported_runs import RunFact, RunsFound, run_facts
from cifarsweep.analysis.samples import curve_needed
from cifarsweep.spec.metrics import ELAPSED, EPOCH, bounds, is_loss
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats import Interval, Summary, prediction, summary


class Standing(StrEnum):
    """How a reported number stands to ours."""

    IN_LINE = "in line"
    """Inside the interval, which is no wider than the tolerance."""
    NOT_TOLD_APART = "not told apart"
    """Inside the interval, which is wider than the tolerance, or no tolerance is given."""
    HIGHER = "higher than a run of ours would give"
    LOWER = "lower than a run of ours would give"


@dataclass(frozen=True, slots=True)
class ReportedAndFound:
    """A reported number with what was found."""

    reported: Reported
    found: Summary | None
    """Of one value a seed; None while there is none."""
    interval: Interval | None
    """95 % of means of `reported.runs` runs of ours end in it; None unless the seeds show a spread."""
    standing: Standing | None
    """None without an interval."""
    fell_out: FallenOut
    """Trials that had fallen out by the moment, which are left out unless none trained."""
    without_value: int
    """Trials that are done and have no such value: it is not finite, or none was measured at that moment."""
    open_trials: int
    """Trials of the cell that are not finished."""
    of_run: RunFact | None = None
    """Where the number is that of a reported run."""


def reported_and_found(report: ReportStudy, runs: RunsFound | None = None) -> list[ReportedAndFound]:
    """Hold every reported number of the study against its cell, in the order of the study; then those of the runs."""
    of_runs = list(run_facts(report, runs)) if runs else []
    cells = {fact.cell for fact in (*report.study.reported, *(run.fact for run in of_runs))}
    trials: Mapping[str, list[ReportTrial]] = {cell: [] for cell in cells}
    for trial in report.trials:
        if trial.cell in cells:
            trials[trial.cell].append(trial)
    held = [_held(fact, trials[fact.cell], report) for fact in report.study.reported]
    return held + [replace(_held(run.fact, trials[run.fact.cell], report), of_run=run) for run in of_runs]


def _held(fact: Reported, trials: Sequence[ReportTrial], report: ReportStudy) -> ReportedAndFound:
    done = [trial for trial in trials if trial.done and not trial.pruned]
    trained = [trial for trial in done if not fell_out_by(trial, _end(trial, fact, report), report)]
    fell_out = FallenOut(len(done) - len(trained), len(done))
    counted = trained or done
    values = [value for trial in counted if (value := _value(trial, fact, report)) is not None]
    found = summary(values) if values else None
    interval = _possible(prediction(found, fact.runs), fact.metric) if found else None
    return ReportedAndFound(
        reported=fact,
        found=found,
        interval=interval,
        standing=_standing(fact, interval) if interval else None,
        fell_out=fell_out,
        without_value=len(counted) - len(values),
        open_trials=sum(trial.state not in FINAL_STATES for trial in trials),
    )


def _possible(interval: Interval | None, metric: str) -> Interval | None:
    """The part of an interval that a metric can come to: Student's t knows no such bounds."""
    least, most = bounds(metric)
    return Interval(max(interval.low, least), min(interval.high, most)) if interval else None


def _standing(fact: Reported, interval: Interval) -> Standing:
    if fact.value > interval.high:
        return Standing.HIGHER
    if fact.value < interval.low:
        return Standing.LOWER
    width = interval.high - interval.low
    return Standing.IN_LINE if fact.tolerance is not None and width <= fact.tolerance else Standing.NOT_TOLD_APART


def _value(trial: ReportTrial, fact: Reported, report: ReportStudy) -> float | None:
    """What the trial has of the reported quantity; None if it has no finite value of it."""
    end = _end(trial, fact, report)
    if fact.metric == ELAPSED and trial.diverged:
        return None  # the time of a part of the training
    if not curve_needed(fact, report.study) or diverged_by(trial, end):
        return trial.elapsed_s if fact.metric == ELAPSED else trial.last(fact.metric)
    series = report.series.get((trial.number, fact.metric))
    if series is None or not series[0].size:
        return None
    value = _read(series, fact, end) if end is not None else math.nan
    return value if math.isfinite(value) else None


def _end(trial: ReportTrial, fact: Reported, report: ReportStudy) -> float | None:
    """The last step that counts; None if the trial did not come to the moment."""
    return step_of(fact.at, report.series.get((trial.number, EPOCH))) if fact.at else math.inf


def _read(series: Series, fact: Reported, end: float) -> float:
    """The last, best or mean value up to a step; nan if it was not evaluated up to there."""
    steps, values = series
    if fact.at is not None and not covers(series, end):
        return math.nan
    until = values[steps <= end + ROUNDING]
    if fact.of == "best":
        return float(until.min() if is_loss(fact.metric) else until.max())
    if fact.mean_of is not None:
        return float(until[-fact.mean_of :].mean()) if until.size >= fact.mean_of else math.nan
    return float(np.interp(end, steps, values))
