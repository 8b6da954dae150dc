"""Puts runs of another study beside the cells of ours that they stand for. They are in no mean and in no verdict.

A run is drawn at its own steps where an epoch takes about as many of them as in its cell, so where batch sizes are
equal, and else at the steps at which its cell had trained as many epochs. Where epochs are unknown, its steps count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.records import OtherRun, ReportStudy, Series
from cifarsweep.spec.metrics import EPOCH, TRAIN_ACCURACY, TRAIN_LOSS, VAL_ACCURACY, VAL_LOSS
from cifarsweep.spec.moments import At
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.reported_runs import ReportedRuns

#: Epochs whose steps differ by no more than this ratio are alike: a held-out part makes them a little shorter.
_ALIKE = 1.2
#: Ends that are so many steps apart are the same: some programs count steps from 0.
_SAME_END = 1.0
#: Metrics whose absence a page tells.
_EXPECTED = (VAL_ACCURACY, VAL_LOSS, TRAIN_ACCURACY, TRAIN_LOSS)
Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


class DrawnBy(StrEnum):
    """Which moments of a run and of its cell belong together."""

    STEP = "step"
    EPOCH = "epoch"
    UNKNOWN = "step, for want of epochs"


@dataclass(frozen=True, slots=True, eq=False)
class RunCurve:
    """A run beside a cell: its curves by metric, at steps of the cell."""

    cell: str
    run: str
    seed: int
    drawn_by: DrawnBy
    curves: Mapping[str, Curve]


@dataclass(frozen=True, slots=True, eq=False)
class RunsFound:
    """What the database has of the runs that a study names."""

    given: ReportedRuns
    absent: bool
    """Whether the study of the runs is not there, or can't be read."""
    curves: tuple[RunCurve, ...]
    missing: tuple[str, ...]
    """Runs that the study of the runs does not have."""
    known: tuple[str, ...]
    """Runs that it has."""
    lacking: Mapping[str, tuple[str, ...]]
    """Runs without a metric, by the metrics that ours have."""
    late: tuple[str, ...]
    """Runs that were first evaluated after the end of their cell."""


@dataclass(frozen=True, slots=True)
class RunFact:
    """The accuracy of a run, as a number to hold ours against: at the end of the shorter of both."""

    fact: Reported
    study: str
    run: str
    drawn_by: DrawnBy
    steps: float
    """The last step of the run, counted in steps of its cell."""


def runs_found(report: ReportStudy) -> RunsFound | None:
    """Place the runs that the study names beside their cells; None if it names none."""
    given, other = report.study.reported_runs, report.other_study
    if given is None:
        return None
    if other is None:
        return RunsFound(given, True, (), (), (), {}, ())
    named = list(dict.fromkeys(name for names in given.runs.values() for name in names))
    curves, metric = tuple(_curves(report, given, other.runs)), report.study.metric
    return RunsFound(
        given=given,
        absent=False,
        curves=curves,
        missing=tuple(name for name in named if name not in other.names),
        known=other.names,
        lacking=_lacking(report, other.runs),
        late=tuple(dict.fromkeys(curve.run for curve in curves if _is_late(curve, _end(report, curve.cell), metric))),
    )


def run_facts(report: ReportStudy, found: RunsFound) -> Iterator[RunFact]:
    """Yield the accuracies of the runs that were evaluated by the end of their cell; runs of one name as a mean."""
    for cell, names in _in_order(report, found.given):
        end = _end(report, cell)
        for name in names:
            ours = [curve for curve in found.curves if (curve.cell, curve.run) == (cell, name)]
            ours = [curve for curve in ours if report.study.metric in curve.curves]
            if fact := _fact(cell, ours, end, found.given, report.study.metric):
                yield fact


def cut(curve: Curve, until: float) -> Curve | None:
    """The part of a curve up to a step, its last point on the line to the next; None if all of it comes later."""
    steps, values = curve
    if not steps.size or steps[0] > until:
        return None
    last = min(until, float(steps[-1]))
    kept = steps < last
    return np.append(steps[kept], last), np.append(values[kept], np.interp(last, steps, values))


def _curves(report: ReportStudy, given: ReportedRuns, runs: Sequence[OtherRun]) -> Iterator[RunCurve]:
    for cell, names in _in_order(report, given):
        numbers = [trial.number for trial in report.trials if trial.cell == cell]
        ours, _ = _pace(next((report.series[n, EPOCH] for n in numbers if (n, EPOCH) in report.series), None))
        for name in names:
            for run in runs:
                if run.name == name:
                    theirs, first = _pace(run.curves.get(EPOCH))
                    drawn_by, scale = _scale(ours, theirs, given)
                    curves = {
                        metric: (np.asarray((steps + first) * scale, np.float64), values)
                        for metric, (steps, values) in run.curves.items()
                        if metric != EPOCH
                    }
                    yield RunCurve(cell, name, run.seed, drawn_by, curves)


def _in_order(report: ReportStudy, given: ReportedRuns) -> list[tuple[str, tuple[str, ...]]]:
    """The runs by cell, in the order of the study's cells: in the database, keys are sorted."""
    return [(cell.name, given.runs[cell.name]) for cell in report.study.cells if cell.name in given.runs]


def _pace(epochs: Series | None) -> tuple[float | None, int]:
    """The steps of an epoch, None if unknown, and what to add to a step to count those that are done.

    PyTorch Lightning counts steps from 0 and records the number of the epoch under way, from 0 too.
    """
    if epochs is None or not epochs[0].size:
        return None, 0
    steps, values = epochs
    if ((values == 0) & (steps > 0)).any() and (values == np.floor(values)).all():
        last = float(values.max())
        return (float(steps[values == last][0]) / last if last else None), 1
    return (float(steps[-1] / values[-1]) if values[-1] > 0 else None), 0


def _scale(ours: float | None, theirs: float | None, given: ReportedRuns) -> tuple[DrawnBy, float]:
    """By what a run is drawn, and how many steps of its cell a step of it is."""
    if given.by == "step":
        return DrawnBy.STEP, 1.0
    if ours is None or theirs is None:
        return DrawnBy.UNKNOWN, 1.0
    alike = 1 / _ALIKE <= ours / theirs <= _ALIKE
    return (DrawnBy.STEP, 1.0) if alike and given.by is None else (DrawnBy.EPOCH, ours / theirs)


def _end(report: ReportStudy, cell: str) -> float | None:
    """The last step of a cell; None where neither a trial that is done nor its settings tell."""
    if steps := [trial.steps for trial in report.trials if trial.cell == cell and trial.trained]:
        return max(steps)
    settings = next(one.own_settings for one in report.study.cells if one.name == cell)
    return settings.steps if settings else None


def _is_late(curve: RunCurve, end: float | None, metric: str) -> bool:
    drawn = curve.curves.get(metric)
    return drawn is not None and end is not None and bool(drawn[0][0] > end + _SAME_END)


def _fact(cell: str, runs: Sequence[RunCurve], end: float | None, given: ReportedRuns, metric: str) -> RunFact | None:
    """The mean value of the runs where they and their cell have all come to; None if it is not finite."""
    curves = [curve.curves[metric] for curve in runs]
    if not curves or any(_is_late(curve, end, metric) for curve in runs):
        return None
    last = min(float(steps[-1]) for steps, _ in curves)
    same = end is None or abs(last - end) <= _SAME_END
    moment = last if same or end is None else min(last, end)
    value = float(np.mean([np.interp(moment, *curve) for curve in curves]))
    if not np.isfinite(value):
        return None
    fact = Reported(
        cell=cell,
        metric=metric,
        value=value,
        at=None if same else At(step=max(round(moment), 1)),
        runs=len(curves),
        tolerance=given.tolerance,
    )
    return RunFact(fact, given.study, runs[0].run, runs[0].drawn_by, max(float(steps[-1]) for steps, _ in curves))


def _lacking(report: ReportStudy, runs: Sequence[OtherRun]) -> dict[str, tuple[str, ...]]:
    measured: Collection[str] = {name for trial in report.trials for name in trial.final} | {report.study.metric}
    without = {
        metric: tuple(dict.fromkeys(run.name for run in runs if metric not in run.metrics))
        for metric in dict.fromkeys((report.study.metric, *_EXPECTED))
        if metric in measured
    }
    return {metric: names for metric, names in without.items() if names}
