"""Reads the runs of another study of the same database that stand for reported runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cifarsweep.analysis.records import OtherRun, OtherStudy, Series
from cifarsweep.errors import UnknownStudy, UnreadableStudy
from cifarsweep.spec.cell_names import other_names
from cifarsweep.spec.metrics import FLOPS, IMAGES, METRIC_LABELS, TIMING_METRICS
from cifarsweep.stats.summary import countable

if TYPE_CHECKING:
    from cifarsweep.spec.study import Study
    from cifarsweep.store import Store

#: Metrics of which such runs are drawn: machines differ, and the axes are those of our own trials.
DRAWN = [name for name in METRIC_LABELS if name not in TIMING_METRICS | {IMAGES, FLOPS}]


def other_study(store: Store, study: Study, metrics: Sequence[str]) -> OtherStudy | None:
    """Read the runs that stand for reported runs, with these metrics; None if there is no such study to read."""
    given = study.reported_runs
    if given is None:
        return None
    wanted = {name for names in given.runs.values() for name in names}
    try:
        rows = store.trials.all(given.study)
        also = other_names(store.studies.get(given.study).spec)
        # A study file may name a run in the words of another version.
        names = {row.cell: also[row.cell] if also.get(row.cell) in wanted else row.cell for row in rows}
        numbers = [row.number for row in rows if names[row.cell] in wanted]
        series = store.metrics.read(given.study, metrics, only=numbers)
    except (UnknownStudy, UnreadableStudy):
        return None
    curves: dict[int, dict[str, Series]] = {number: {} for number in numbers}
    for (number, metric), (steps, values) in series.items():
        curves[number][metric] = (steps, countable(values))
    runs = [
        OtherRun(names[row.cell], row.seed, frozenset((*row.final, *curves[row.number])), curves[row.number])
        for row in rows
        if row.number in curves
    ]
    return OtherStudy(tuple(dict.fromkeys(names.values())), tuple(runs))
