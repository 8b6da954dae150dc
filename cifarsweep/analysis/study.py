"""Analyses a study once, for pages, index, terminal, JSON and notebook."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cifarsweep.analysis.collect import collect, read_trials, with_curves
from cifarsweep.analysis.effect_records import Effects
from cifarsweep.analysis.effects import effects
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.reported import ReportedAndFound, reported_and_found
from cifarsweep.analysis.reported_runs import RunsFound, runs_found
from cifarsweep.analysis.results import CellResult, cell_results, costs
from cifarsweep.analysis.samples import named_cells
from cifarsweep.analysis.search import SearchResult, search_result
from cifarsweep.analysis.verdicts import Verdict, verdicts
from cifarsweep.spec.study import Study

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: The most cells and trials on a page, and cells in a terminal's table.
SHOWN_CELLS, SHOWN_TRIALS, SHOWN_LINES = 200, 1000, 40


@dataclass(frozen=True, slots=True)
class StudyAnalysis:
    """A study with its results and verdicts."""

    report: ReportStudy
    results: tuple[CellResult, ...]
    """Of all cells, in the order of the study."""
    shown: frozenset[str]
    """The names of the cells that a page shows."""
    verdicts: tuple[Verdict, ...]
    """Of all hypotheses, in the order of the study."""
    reported: tuple[ReportedAndFound, ...]
    """Of all numbers that others reported, in the order of the study, and of the runs that it names."""
    runs: RunsFound | None = None
    """The runs of another study that it names; None if it names none."""
    search: SearchResult | None = None
    """What its search found; None if it has none."""
    effects: Effects | None = None
    """Of the factors that it crosses; None if there are none."""

    @property
    def study(self) -> Study:
        return self.report.study


def analyse(report: ReportStudy) -> StudyAnalysis:
    """Sum up every cell and judge every hypothesis, each once."""
    return _analysed(report, cell_results(report))


def load_study(store: Store, name: str, *, curves: bool = True) -> StudyAnalysis:
    """Read a study and analyse it. Raises UnknownStudy.

    Without `curves`, only the curves that hypotheses are tested on are read, which takes a tenth of the time.
    """
    if not curves:
        return analyse(collect(store, name))
    report = read_trials(store, name)
    results = cell_results(report)
    return _analysed(with_curves(store, report, shown_cells(report.study, results)), results)


def _analysed(report: ReportStudy, results: Sequence[CellResult]) -> StudyAnalysis:
    runs = runs_found(report)
    return StudyAnalysis(
        report=report,
        results=tuple(results),
        shown=shown_cells(report.study, results),
        verdicts=tuple(verdicts(report)),
        reported=tuple(reported_and_found(report, runs)),
        runs=runs,
        search=search_result(report),
        effects=effects(report),
    )


def shown_cells(study: Study, results: Sequence[CellResult]) -> frozenset[str]:
    """The names of the cells that a page shows: all, or of many those of hypotheses, reported numbers, Pareto fronts.

    Then the best, as many as it takes for `SHOWN_CELLS`.
    """
    if len(results) <= SHOWN_CELLS:
        return frozenset(result.cell.name for result in results)
    wanted = named_cells(study).union(results[index].cell.name for cost in costs(results) for index in cost.front)
    others = [result.cell.name for result in _best_first(results) if result.cell.name not in wanted]
    return wanted.union(others[: max(SHOWN_CELLS - len(wanted), 0)])


def shown_lines(results: Sequence[CellResult]) -> list[CellResult]:
    """The cells in a terminal's table: all, or the best of many, in the order of the study."""
    if len(results) <= SHOWN_LINES:
        return list(results)
    kept = {result.cell.name for result in _best_first(results)[:SHOWN_LINES]}
    return [result for result in results if result.cell.name in kept]


def shown_trials(report: ReportStudy, cells: Collection[str]) -> list[ReportTrial]:
    """The trials that a page lists: all, or of many those that failed, then those of the shown cells."""
    ranked = sorted(report.trials, key=lambda trial: (not trial.failed, trial.cell not in cells))
    return sorted(ranked[:SHOWN_TRIALS], key=lambda trial: trial.number)


def _best_first(results: Sequence[CellResult]) -> list[CellResult]:
    """By their means; cells without one come last."""
    return sorted(results, key=lambda result: result.rank)
