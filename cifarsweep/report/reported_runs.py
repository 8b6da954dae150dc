"""Runs of another study on a page: their curves as data of the figure, and what a reader has to know of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.reported_runs import DrawnBy, RunCurve, RunFact, RunsFound, cut
from cifarsweep.formatting import metric_label
from cifarsweep.report.figures import FEWEST_POINTS, POINTS, POINTS_OF_A_PAGE, packed, thinned
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.validation import nearest
from cifarsweep.stats import Band
from cifarsweep.text import one_line

#: More runs than this are counted instead of named, and so are what a study has instead.
_NAMED = 6


def run_payload(found: RunsFound | None, report: ReportStudy, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The curves of the runs, ready for JSON: up to the last step of ours, thinned, one or None for each metric."""
    curves = found.curves if found else ()
    places = {cell.name: place for place, cell in enumerate(report.study.cells)}
    last = max((float(steps[-1]) for steps, _ in report.series.values()), default=0.0)
    points = max(FEWEST_POINTS, min(POINTS, POINTS_OF_A_PAGE // max(len(curves) * len(metrics), 1)))
    several = {run.run for run in curves if any(run.run == other.run and run.seed != other.seed for other in curves)}
    return [
        {
            "cell": places[run.cell],
            "name": f"{run.run}, seed {run.seed}" if run.run in several else run.run,
            "curves": [_packed(run, metric, last, points) for metric in metrics],
        }
        for run in curves
        if run.cell in places
    ]


def _packed(run: RunCurve, metric: str, last: float, points: int) -> dict[str, Any] | None:
    curve = cut(run.curves[metric], last) if metric in run.curves else None
    if curve is None:
        return None
    steps, values = curve
    none = np.full(steps.size, np.nan)
    thin = thinned(Band(steps, values, none, none, np.ones(steps.size, np.int64)), points)
    return {"steps": packed(thin.grid), "mean": packed(thin.mean)}


def run_notes(found: RunsFound | None) -> list[str]:
    """What is missing of the runs, and by what they are drawn; nothing for a study that names none."""
    return [*_gaps(found), *_drawing(found)] if found else []


def run_view(found: RunsFound | None) -> dict[str, Any]:
    """The variables that the section of reported numbers has of runs."""
    if found is None:
        return {"gaps": [], "drawing": "", "study": None}
    return {"gaps": list(_gaps(found)), "drawing": " ".join(_drawing(found)), "study": found.given.study}


def run_fields(found: RunsFound | None) -> dict[str, Any] | None:
    """The runs as plain values: which stand for which cell, and the notes."""
    if found is None:
        return None
    return {
        "study": found.given.study,
        "runs": [
            {"cell": run.cell, "run": run.run, "seed": run.seed, "drawn_by": run.drawn_by} for run in found.curves
        ],
        "notes": run_notes(found),
    }


def run_length(run: RunFact) -> str:
    """How long a run was that did not end with its cell."""
    ours = " of ours" if run.drawn_by is DrawnBy.EPOCH else ""
    return "" if run.fact.at is None else f"{round(run.steps):,} steps{ours} long"


def _gaps(found: RunsFound) -> Iterator[str]:
    study = found.given.study
    if found.absent:
        yield (
            f"The study {study!r}, whose runs are to be drawn as reported, is not in this database or can't be read: "
            f"import it with `cifarsweep import-tensorboard DIR --as {study}`."
        )
        return
    for run in found.missing:
        more = f"; and {len(found.known) - _NAMED} more" if len(found.known) > _NAMED else ""
        it_has = f" It has: {'; '.join(found.known[:_NAMED])}{more}." if found.known else ""
        yield f"The study {study!r} has no run {run!r}.{nearest(run, found.known)}{it_has}"
    yield from _lacks(found.lacking)
    if found.late:
        yield f"Reported runs that were first evaluated after the end of their cell, so no row: {_list(found.late)}."


def _lacks(lacking: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for metric, runs in lacking.items():
        label = metric_label(metric)
        again = (
            ", unless they call it otherwise: then import them again with --rename" if metric == VAL_ACCURACY else ""
        )
        yield f"Reported runs without {label[:1].lower()}{label[1:]} ({metric}): {_list(runs)}{again}."


def _drawing(found: RunsFound) -> Iterator[str]:
    by: dict[DrawnBy, list[str]] = {}
    for run in found.curves:
        if run.run not in by.setdefault(run.drawn_by, []):
            by[run.drawn_by].append(run.run)
    if runs := by.get(DrawnBy.EPOCH):
        yield f"Reported runs drawn by epoch, where an epoch has other steps than in their cell: {_list(runs)}."
    if runs := by.get(DrawnBy.UNKNOWN):
        yield f"Reported runs drawn by step, for their epochs or those of their cell are not recorded: {_list(runs)}."
    if runs := by.get(DrawnBy.STEP):
        yield f"Reported runs drawn by step: {_list(runs)}."


def _list(runs: Sequence[str]) -> str:
    shown = "; ".join(map(one_line, runs[:_NAMED]))
    return f"{shown}; and {len(runs) - _NAMED} more" if len(runs) > _NAMED else shown
