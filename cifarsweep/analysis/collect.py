"""Fills the records of a report from the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cifarsweep.analysis.confusion import class_counts
from cifarsweep.analysis.records import ReportAttempt, ReportStudy, ReportTrial, Series
from cifarsweep.analysis.results import final_summary
from cifarsweep.analysis.samples import metrics_needed, named_cells
from cifarsweep.data.catalog import class_count, class_names
from cifarsweep.spec.metrics import METRIC_LABELS, TELEMETRY, VAL_ACCURACY
from cifarsweep.spec.study import Cell, datasets
from cifarsweep.spec.types import DATA_VERSION, TrialState
from cifarsweep.version import __version__

if TYPE_CHECKING:
    from cifarsweep.spec.study import Study
    from cifarsweep.store import Store
    from cifarsweep.store.records import AttemptRow, TrialRow

#: Under these names a worker puts the cost of a trial's network among its last metrics.
PARAMS, FLOPS = "params", "flops_per_image"
#: Points of a search that tables and curves show: the best ones.
_SHOWN_POINTS = 12


def collect(store: Store, name: str) -> ReportStudy:
    """Read a study with the curves that its hypotheses are tested on, and no others. Raises UnknownStudy."""
    report = read_trials(store, name)
    if not (metrics := metrics_needed(report.study)):
        return report
    return replace(report, series=_series(store, report, metrics, named_cells(report.study)))


def with_curves(store: Store, report: ReportStudy, cells: Collection[str]) -> ReportStudy:
    """The report with curves and class counts of these cells, and how often trials of other cells were evaluated."""
    name, others = report.study.name, [trial.number for trial in report.trials if trial.cell not in cells]
    return replace(
        report,
        series=_series(store, report, METRIC_LABELS, cells),
        evaluations=store.metrics.row_counts(name, [VAL_ACCURACY], others),
        confusion=class_counts(store, report, cells),
    )


def _series(
    store: Store, report: ReportStudy, metrics: Collection[str], cells: Collection[str]
) -> Mapping[tuple[int, str], Series]:
    kept = [trial.number for trial in report.trials if trial.cell in cells]
    only = kept if len(kept) < len(report.trials) else None
    return store.metrics.read(report.study.name, metrics, only=only)


def read_trials(store: Store, name: str) -> ReportStudy:
    """Read a study without any curve. Raises UnknownStudy."""
    study, rows = store.studies.get(name).spec, store.trials.all(name)
    whole = _means(store, name, [row.number for row in rows if row.final and len(row.trained_by) > 1])
    shown, trials = study, tuple(_trial(row, whole.get(row.number, {})) for row in rows)
    if study.search is not None and rows:
        shown = study.model_copy(update={"cells": _best_points(rows, trials)})
    return ReportStudy(
        study=shown,
        written=study,
        trials=trials,
        series={},
        made_at=datetime.now(UTC),
        database=store.shown_url,
        version=__version__,
        data_digest=_digests(study, rows),
        classes=_classes(study),
        plans=store.studies.plans(name),
        class_names={each: class_names(each) for each in datasets(study)},
    )


def _means(store: Store, name: str, continued: Sequence[int]) -> dict[int, dict[str, float]]:
    """What the hardware did in all attempts of trials that were continued: a last value is of the last one alone."""
    found: dict[int, dict[str, float]] = {}
    for (number, metric), (_, values) in (
        store.metrics.read(name, TELEMETRY, only=continued) if continued else {}
    ).items():
        found.setdefault(number, {})[metric] = float(values.mean())
    return found


def _classes(study: Study) -> dict[str, int]:
    """Of the data sets that this machine knows; a report is often made where nobody trains."""
    counts = {name: class_count(name) for name in datasets(study)}
    return {name: count for name, count in counts.items() if count is not None}


def _best_points(rows: Sequence[TrialRow], trials: Sequence[ReportTrial]) -> tuple[Cell, ...]:
    """The cells of a search that are worth a line, best first: those with the highest mean, else those tried first."""
    cells = {row.cell: Cell(name=row.cell, levels=dict(row.levels), settings=row.settings) for row in rows}
    means = {name: final_summary([each for each in trials if each.cell == name], VAL_ACCURACY) for name in cells}
    ranked = sorted(cells, key=lambda name: -found.mean if (found := means[name]) else 1.0)
    done = [name for name in ranked if means[name]]
    return tuple(cells[name] for name in (done or ranked)[:_SHOWN_POINTS])


def _digests(study: Study, rows: Sequence[TrialRow]) -> str | None:
    """The digests of the images that trials were trained on: more than one of a name tells that machines differ."""
    found = {
        f"{dataset} sha256 {attempt.versions[DATA_VERSION + dataset]}"
        for dataset in datasets(study)
        for row in rows
        for attempt in row.trained_by
        if DATA_VERSION + dataset in attempt.versions
    }
    return "; ".join(sorted(found)) or None


def _trial(row: TrialRow, whole: Mapping[str, float]) -> ReportTrial:
    params = row.final.get(PARAMS)
    given_up = row.state in (TrialState.FAILED, TrialState.POISONED)
    return ReportTrial(
        number=row.number,
        cell=row.cell,
        levels=row.levels,
        seed=row.seed,
        state=row.state,
        outcome=row.outcome,
        final={name: value for name, value in {**row.final, **whole}.items() if name not in (PARAMS, FLOPS)},
        steps=row.step,
        elapsed_s=row.elapsed_s if row.step else None,
        params=round(params) if params is not None else None,
        flops=row.final.get(FLOPS),
        attempts=tuple(_attempt(attempt) for attempt in row.attempts),
        # What an attempt of a trial that came through met stands with the attempt.
        error=(row.traceback or row.error or None) if given_up else None,
        weights_sha256=row.weights_sha256 or None,
        versions=_last_versions(row),
    )


def _last_versions(row: TrialRow) -> Mapping[str, str]:
    return row.attempts[-1].versions if row.attempts else {}


def _attempt(row: AttemptRow) -> ReportAttempt:
    return ReportAttempt(
        attempt=row.attempt,
        host=row.host,
        device=row.device,
        started=row.started_at,
        ended=row.ended_at,
        end=row.end,
        error=row.error or None,
        first_step=row.first_step,
        versions=row.versions,
    )
