"""What a page or a terminal has room for, of a study of very many cells: nobody reads two thousand lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.results import CellResult, cell_results
from cifarsweep.analysis.samples import sides
from cifarsweep.report.figures import cost_payload

#: Cells and trials that a page shows, and cells that a terminal's table has a line for.
SHOWN_CELLS, SHOWN_TRIALS, SHOWN_LINES = 200, 1000, 40


def shown_cells(report: ReportStudy) -> frozenset[str]:
    """The names of the cells that a page shows: `SHOWN_CELLS`, or more where hypotheses speak of more.

    Those that a hypothesis is tested on always, those that no other one beats at the same cost, and the best.
    """
    study = report.study
    if len(study.cells) <= SHOWN_CELLS:
        return frozenset(cell.name for cell in study.cells)
    results = cell_results(report)
    named = {name for one in study.hypotheses for side in sides(one, study) for name in side.cells}
    named |= {results[place].cell.name for cost in cost_payload(results) for place in cost["front"]}
    others = [result.cell.name for result in _best_first(results) if result.cell.name not in named]
    return frozenset(named.union(others[: max(SHOWN_CELLS - len(named), 0)]))


def shown_lines(results: Sequence[CellResult]) -> list[CellResult]:
    """The cells that a terminal shows: all, or the best of many, in the order of the study."""
    if len(results) <= SHOWN_LINES:
        return list(results)
    kept = {result.cell.name for result in _best_first(results)[:SHOWN_LINES]}
    return [result for result in results if result.cell.name in kept]


def shown_trials(report: ReportStudy, cells: Collection[str]) -> list[ReportTrial]:
    """The trials that a page lists: all, or of many those that failed, and those of the cells that it shows."""
    ranked = sorted(report.trials, key=lambda trial: (not trial.failed, trial.cell not in cells))
    return sorted(ranked[:SHOWN_TRIALS], key=lambda trial: trial.number)


def _best_first(results: Sequence[CellResult]) -> list[CellResult]:
    """By their means; those without a result last."""
    return sorted(results, key=lambda result: -result.accuracy.mean if result.accuracy else 1.0)
