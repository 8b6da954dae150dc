"""Checks the reported numbers and runs of a study file against its cells and their metrics."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cifarsweep.errors import SpecError
from cifarsweep.spec.metrics import (
    BEST_ACCURACY,
    BEST_STEP,
    EARLY_STOPPED_AT,
    SINGLE,
    bounds,
    is_loss,
    is_share,
)
from cifarsweep.spec.moments import beyond_budget
from cifarsweep.spec.overrides import Note
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.reported_runs import ReportedRuns
from cifarsweep.spec.study import Cell, Study, own_metrics
from cifarsweep.spec.tested import never_measured
from cifarsweep.spec.validation import nearest, unknown_metric

_MOST_CELLS_NAMED = 20


def check_reported(study: Study, where: str) -> None:
    """Raise SpecError for a reported number of an unknown cell or metric, one that can't be, or runs of no cell."""
    for number, fact in enumerate(study.reported, start=1):
        cell = next((cell for cell in study.cells if cell.name == fact.cell), None)
        problem = f"cell: {_no_cell(fact.cell, study.cells)}" if cell is None else _mistake(fact, study)
        if cell is not None:
            problem = problem or _not_recorded(fact, cell) or _beyond_budget(fact, cell)
        if problem:
            raise SpecError(f"{where}: reported {number}: {problem}")
    if study.reported_runs is not None:
        _check_runs(study.reported_runs, study, f"{where}: reported_runs")


def _check_runs(given: ReportedRuns, study: Study, where: str) -> None:
    names = {cell.name for cell in study.cells}
    if unknown := [name for name in given.runs if name not in names]:
        raise SpecError(f"{where}.runs: {_no_cell(unknown[0], study.cells)}")
    if problem := _too_tolerant(given.tolerance, 1.0):
        raise SpecError(f"{where}.{problem}")
    if given.study == study.name:
        raise SpecError(f"{where}.study: {given.study!r} is this study; name the study that the runs were imported as")


def _no_cell(name: str, cells: Sequence[Cell]) -> str:
    names = [cell.name for cell in cells]
    listed = "; ".join(names[:_MOST_CELLS_NAMED]) + ("; ..." if len(names) > _MOST_CELLS_NAMED else "")
    return f"there is no cell {name!r}.{nearest(name, names)} The cells are: {listed}"


def _mistake(fact: Reported, study: Study) -> str | None:
    # A program has metrics of any name.
    if problem := unknown_metric(fact.metric, own_metrics(study)) if study.program is None else None:
        return problem
    if study.program is None and fact.needs_curve and fact.metric in SINGLE:
        return f"metric: a trial has one value of {fact.metric!r}; leave out at and of"
    if fact.of == "best" and not is_share(fact.metric) and not is_loss(fact.metric):
        return f"of: {fact.metric!r} has no best value, as accuracies and losses have; leave out of"
    least, most = bounds(fact.metric)
    if fact.value > most:
        share = f"{fact.value:.10g} % is {fact.value / 100:.10g}" if fact.value <= 100 else "94.98 % is 0.9498"
        return f"value: {fact.metric} is at most 1, not {fact.value:.10g}; give a share; {share}"
    if fact.value < least:
        return f"value: {fact.metric} is never below 0, so it can't be {fact.value:.10g}"
    return _too_tolerant(fact.tolerance, most)


def _too_tolerant(tolerance: float | None, most: float) -> str | None:
    """Say that a tolerance allows every value; None if it does not."""
    if tolerance is None or tolerance < most:
        return None
    return f"tolerance: {tolerance:.10g} is every value of a share; one point is 0.01"


def _not_recorded(fact: Reported, cell: Cell) -> str | None:
    """Say which setting lets the cell record the metric; None if it does already."""
    if cell.own_settings is None:
        return None
    settings, metric = cell.settings, fact.metric
    if metric == EARLY_STOPPED_AT and not settings.early_stop.patience:
        return f"metric: {cell.name!r} has no {metric}, for it never stops early: set early_stop.patience"
    if metric in (BEST_ACCURACY, BEST_STEP) and not settings.keep_best and not settings.early_stop.patience:
        instead = ', or write metric = "val/accuracy" with of = "best"' if metric == BEST_ACCURACY else ""
        return f"metric: {cell.name!r} has no {metric}, for it keeps no best weights: set keep_best = true{instead}"
    return never_measured(metric, settings, cell.name)


def _beyond_budget(fact: Reported, cell: Cell) -> str | None:
    if fact.at is None or cell.own_settings is None:
        return None
    return beyond_budget(fact.at, cell.settings, cell.name)


def applicable_reported(
    facts: Sequence[Reported], cells: Sequence[Cell], arms: Collection[str], given: Collection[str], note: Note
) -> list[Reported]:
    """Return the reported numbers that settings from the command line, by their `given` keys, leave comparable.

    Left out, each with a note, are those whose arm was merged with another, whose budget was cut before `at`, and those
    of a metric that is no longer recorded. A note says that the others are of other settings.
    """
    by_name = {cell.name: cell for cell in cells}
    kept: list[Reported] = []
    for fact in facts:
        if why := _incomparable(fact, by_name.get(fact.cell), arms):
            note(f"the reported {fact.metric} of {fact.cell!r} is left out: with --set {why}")
        else:
            kept.append(fact)
    if kept:
        note(f"the reported numbers are held against other settings than the file's: --set {', '.join(given)}")
    return kept


def _incomparable(fact: Reported, cell: Cell | None, arms: Collection[str]) -> str | None:
    if cell is None:
        return "its cell is merged" if fact.cell in arms else None
    if _beyond_budget(fact, cell):
        return "training ends before it"
    return "it is not recorded" if _not_recorded(fact, cell) else None


def applicable_runs(
    given: ReportedRuns | None, cells: Sequence[Cell], arms: Collection[str], note: Note
) -> ReportedRuns | None:
    """Return the reported runs but for those of arms that settings from the command line merged, each with a note."""
    names = {cell.name for cell in cells}
    lost = [cell for cell in given.runs if cell not in names and cell in arms] if given else []
    if given is None or not lost:
        return given
    for cell in lost:
        note(f"the reported runs of {cell!r} are left out: with --set its cell is merged")
    kept = {cell: runs for cell, runs in given.runs.items() if cell not in lost}
    return given.model_copy(update={"runs": kept}) if kept else None
