"""Reads the records of a study from the database."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cifarsweep.analysis.confusion import class_counts
from cifarsweep.analysis.hits import read_hits
from cifarsweep.analysis.other_study import DRAWN, other_study
from cifarsweep.analysis.outcomes import recorded_guess
from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.analysis.results import final_summary
from cifarsweep.analysis.reuse import reused_amounts
from cifarsweep.analysis.samples import metrics_needed, named_cells
from cifarsweep.data.catalog import BUILT_IN, class_count, class_names, readable, sizes
from cifarsweep.spec.metrics import (
    EPOCH,
    LARGEST_CLASS,
    METRIC_LABELS,
    TELEMETRY,
    TEST_ACCURACY,
    TEST_LOSS,
    VAL_ACCURACY,
    VAL_IMAGES,
    VAL_LOSS,
    is_loss,
)
from cifarsweep.spec.study import Cell, datasets, own_metrics
from cifarsweep.spec.types import DATA_VERSION, Outcome, TrialState
from cifarsweep.stats.shares import Guess
from cifarsweep.stats.summary import countable
from cifarsweep.version import __version__

if TYPE_CHECKING:
    from cifarsweep.spec.settings import Settings, Validation
    from cifarsweep.spec.study import Study
    from cifarsweep.store import Store
    from cifarsweep.store.trial_records import TrialRow

    _Judged = tuple[str, Validation]  # the images that a trial is judged by

#: A worker records the cost of the network among the last metrics, under these names.
PARAMS, FLOPS = "params", "flops_per_image"
#: What is recorded among the last metrics and measures no training.
_CONSTANTS = frozenset({PARAMS, FLOPS, VAL_IMAGES, LARGEST_CLASS})
#: What is recorded along training; the results on the test set are no curves.
_CURVES = frozenset(METRIC_LABELS.keys() - {TEST_ACCURACY, TEST_LOSS})
#: The most metrics of a program's own that a page draws.
_OWN_METRICS = 40
#: Tables and curves show this many points of a search, the best ones.
_SHOWN_POINTS = 12


def collect(store: Store, name: str) -> ReportStudy:
    """Read a study with the curves and hits that hypotheses and reported numbers need. Raises UnknownStudy."""
    report = read_trials(store, name)
    cells = named_cells(report.study)
    report = replace(report, hits=read_hits(store, report, cells)) if cells else report
    if not (metrics := metrics_needed(report.study)):
        return report
    series = _series(store, report, metrics, cells)
    return replace(report, series=series, other_study=other_study(store, report.study, [report.study.metric, EPOCH]))


def read_compared(store: Store, name: str) -> ReportStudy:
    """Read a study with the hits of all cells and without any curve, to set it beside another. Raises UnknownStudy."""
    report = read_trials(store, name)
    return replace(report, hits=read_hits(store, report, {trial.cell for trial in report.trials}))


def with_curves(store: Store, report: ReportStudy, cells: Collection[str]) -> ReportStudy:
    """Add the curves, class counts and hits of these cells, and the number of evaluations of all other trials."""
    name, others = report.study.name, [trial.number for trial in report.trials if trial.cell not in cells]
    return replace(
        report,
        series=_series(store, report, _curves(store, report).union(metrics_needed(report.study)), cells),
        evaluations=store.metrics.row_counts(name, [report.study.metric], others),
        confusion=class_counts(store, report, cells),
        hits=read_hits(store, report, cells),
        other_study=other_study(store, report.study, DRAWN),
    )


def _curves(store: Store, report: ReportStudy) -> frozenset[str]:
    """The metrics that are drawn; of a program also its own."""
    if report.study.program is None:
        return _CURVES.union(name for name in own_metrics(report.study) if name.startswith("val/"))
    own = [name for name in store.metrics.names(report.study.name) if name not in _CURVES]
    return _CURVES.union([report.study.metric, *own[:_OWN_METRICS]])


def _series(
    store: Store, report: ReportStudy, metrics: Collection[str], cells: Collection[str]
) -> Mapping[tuple[int, str], Series]:
    kept = [trial.number for trial in report.trials if trial.cell in cells]
    only = kept if len(kept) < len(report.trials) else None
    read = store.metrics.read(report.study.name, metrics, only=only)
    return {key: (steps, countable(values)) for key, (steps, values) in read.items()}


def read_trials(store: Store, name: str) -> ReportStudy:
    """Read a study without any curve. Raises UnknownStudy."""
    study, rows = store.studies.get(name).spec, store.trials.all(name)
    telemetry, classes = _mean_telemetry(store, name, rows), _classes(study)
    counts = {dataset: sizes(dataset) for dataset in classes}
    means, recorded = _final_means(store, study, rows), _recorded(rows)
    trials = tuple(
        _trial(
            row,
            {**telemetry.get(row.number, {}), **means.get(row.number, {})},
            _guess(row, recorded, classes, counts),
            study.metric,
        )
        for row in rows
    )
    if reused := reused_amounts(store, name, rows):
        trials = tuple(replace(trial, reused=reused.get(trial.number, {})) for trial in trials)
    shown = study
    if study.search is not None and rows:
        shown = study.model_copy(update={"cells": _best_points(study, rows, trials)})
    return ReportStudy(
        study=shown,
        written=study,
        trials=trials,
        series={},
        made_at=datetime.now(UTC),
        database=store.shown_url,
        version=__version__,
        data_digest=_digests(study, rows),
        classes=classes,
        plans=store.studies.plans(name),
        class_names={dataset: class_names(dataset) for dataset in datasets(study)},
        own_notes=store.notes.of(name),
        images={name: found for name in datasets(study) if name not in BUILT_IN and (found := readable(name))},
    )


def _mean_telemetry(store: Store, name: str, rows: Sequence[TrialRow]) -> dict[int, dict[str, float]]:
    """Means over all attempts of the trials that were continued: their last values cover the last attempt alone."""
    means: dict[int, dict[str, float]] = {}
    continued = [row.number for row in rows if row.final and len(row.trained_by) > 1]
    if continued:
        for (number, metric), (_, values) in store.metrics.read(name, TELEMETRY, only=continued).items():
            means.setdefault(number, {})[metric] = float(values.mean())
    return means


def _final_means(store: Store, study: Study, rows: Sequence[TrialRow]) -> dict[int, dict[str, float]]:
    """The means of the last evaluations, where the study counts these as final values.

    What a trial that diverged or was pruned ended with stays as it is.
    """
    last = study.final.mean_of
    whole = [row.number for row in rows if row.state == TrialState.DONE and row.outcome == Outcome.FINISHED]
    means: dict[int, dict[str, float]] = {}
    if last > 1 and whole:
        read = store.metrics.read(study.name, {study.metric, VAL_ACCURACY, VAL_LOSS}, only=whole)
        for (number, metric), (_, values) in read.items():
            means.setdefault(number, {})[metric] = float(countable(values[-last:]).mean())
    return means


def _classes(study: Study) -> dict[str, int]:
    """The number of classes of each data set that this machine knows."""
    counts = {name: class_count(name) for name in datasets(study)}
    return {name: count for name, count in counts.items() if count is not None}


def _best_points(study: Study, rows: Sequence[TrialRow], trials: Sequence[ReportTrial]) -> tuple[Cell, ...]:
    """The points of a search that are shown, best first; the first ones if none is done."""
    cells = {row.cell: _cell_of(row) for row in rows}
    by_cell: dict[str, list[ReportTrial]] = {name: [] for name in cells}
    for trial in trials:
        by_cell[trial.cell].append(trial)
    means = {name: final_summary(by_cell[name], study.metric) for name in cells}
    sign = 1 if is_loss(study.metric) else -1
    ranked = sorted(cells, key=lambda name: sign * mean.mean if (mean := means[name]) else math.inf)
    done = [name for name in ranked if means[name]]
    return tuple(cells[name] for name in (done or ranked)[:_SHOWN_POINTS])


def point_cells(store: Store, name: str) -> dict[str, Cell]:
    """The cells of all trials of a study by name, as they were stored. Raises UnknownStudy."""
    return {row.cell: _cell_of(row) for row in store.trials.all(name)}


def _cell_of(row: TrialRow) -> Cell:
    own = None if row.parameters is None else dict(row.parameters)
    return Cell(name=row.cell, levels=dict(row.levels), settings=row.own_settings, parameters=own)


def _digests(study: Study, rows: Sequence[TrialRow]) -> str | None:
    """Digests of the images that trials were trained on; two of one data set mean that machines differ."""
    digests = {
        f"{dataset} sha256 {attempt.versions[DATA_VERSION + dataset]}"
        for dataset in datasets(study)
        for row in rows
        for attempt in row.trained_by
        if DATA_VERSION + dataset in attempt.versions
    }
    return "; ".join(sorted(digests)) or None


def _guess(
    row: TrialRow,
    recorded: Mapping[_Judged, Guess],
    classes: Mapping[str, int],
    counts: Mapping[str, tuple[int, int] | None],
) -> Guess | None:
    """What guessing gives on the trial's validation images, as it or another one recorded; else from its settings."""
    if own := recorded_guess(row.final):
        return own
    settings = row.own_settings
    if settings is None:
        return None
    if other := recorded.get((settings.dataset, settings.validation)):
        return other
    return guess_of(settings, classes.get(settings.dataset), counts.get(settings.dataset))


def guess_of(settings: Settings, classes: int | None, count: tuple[int, int] | None) -> Guess | None:
    """Return what guessing gives on the validation images, if all classes are equally large; None if they are unknown.

    `count` is that of training and test images.
    """
    if classes is None:
        return None
    held_out = None if count is None else round(count[0] * settings.validation.fraction)
    judged = held_out if settings.validation.split == "holdout" else count and count[1]
    return Guess(1 / classes, judged, recorded=False)


def _recorded(rows: Sequence[TrialRow]) -> dict[_Judged, Guess]:
    """What trials recorded of the images that they are judged by, where all that have the same ones agree."""
    found: dict[_Judged, set[Guess]] = {}
    for row in rows:
        if (settings := row.own_settings) and (guess := recorded_guess(row.final)):
            found.setdefault((settings.dataset, settings.validation), set()).add(guess)
    return {judged: guesses.pop() for judged, guesses in found.items() if len(guesses) == 1}


def _trial(row: TrialRow, means: Mapping[str, float], guess: Guess | None, metric: str) -> ReportTrial:
    params = row.final.get(PARAMS)
    given_up = row.state in (TrialState.FAILED, TrialState.POISONED)
    return ReportTrial(
        number=row.number,
        cell=row.cell,
        levels=row.levels,
        seed=row.seed,
        state=row.state,
        outcome=row.outcome,
        final={name: value for name, value in {**row.final, **means}.items() if name not in _CONSTANTS},
        steps=row.step,
        elapsed_s=row.elapsed_s if row.step else None,
        params=round(params) if params is not None else None,
        flops=row.final.get(FLOPS),
        attempts=row.attempts,
        # Errors of a trial that went on are told with its attempts.
        error=(row.traceback or row.error or None) if given_up else None,
        versions=(row.trained_by or row.attempts)[-1].versions if row.attempts else {},
        guess=guess,
        reuse=row.reuse,
        metric=metric,
        devices=row.own_settings.devices if row.own_settings else 1,
    )
