"""Chooses the seeds to add next: for the cells of undecided hypotheses, and for no others.

Looking again and again until a difference shows finds differences that are not there. So the looks are planned before
the first one can be taken, after 3, 6, 12 ... seeds. Each look spends its share of the 5 %, that of the seeds which it
adds, and is taken once all of its trials are final. A hypothesis is tested at these numbers of seeds alone, so the
chance of a false verdict at any of them is at most the sum of the shares. A plan that is made after a look adds to the
5 %: half of what the plan before it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import cells_of, seed_order, sides
from cifarsweep.analysis.verdicts import Verdict, verdicts
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats.estimate import FEWEST_SEEDS
from cifarsweep.stats.multiplicity import Plans, extended, schedule


@dataclass(frozen=True, slots=True)
class Extension:
    """The result of a look at a study: verdicts, and the trials to add."""

    plans: Plans
    """The numbers of seeds at each look, by plan, earlier plans included."""
    unplanned: bool
    """Whether the new looks are a plan of their own, since an earlier look may have been taken."""
    verdicts: tuple[Verdict, ...]
    """At the levels of these looks."""
    unfinished: int
    """Trials that must be final before the look; while there are any, nothing is added."""
    added: tuple[tuple[str, int], ...]
    """Trials to add, by cell and seed."""
    stuck: tuple[Verdict, ...]
    """Undecided hypotheses with no look left, or with nothing that more seeds could test."""


def next_seeds(report: ReportStudy, most: int) -> Extension:
    """Look at the study and choose the trials to add, up to `most` seeds a cell."""
    seeds = seed_order(report.study, max(most, len(report.study.seeds)))
    have = _seeds_of(report, seeds)
    plans = _plans(report, have, most)
    judged = tuple(verdicts(replace(report, plans=plans)))
    needed = {cell for verdict in judged for cell in verdict.cells}
    unfinished = sum(trial.cell in needed and trial.state not in FINAL_STATES for trial in report.trials)
    looks = sorted(look for plan in plans for look in plan)
    goals = [(verdict, _goal(verdict, have, looks, most)) for verdict in judged if verdict.decision == "undecided"]
    added = tuple(
        (cell.name, seed)
        for index, seed in enumerate(seeds)
        for cell in report.study.cells
        if have[cell.name] <= index < max((goal for verdict, goal in goals if cell.name in verdict.cells), default=0)
        and not unfinished
    )
    stuck = tuple(verdict for verdict, goal in goals if not goal)
    return Extension(plans, len(plans) > max(1, len(report.plans)), judged, unfinished, added, stuck)


def _plans(report: ReportStudy, have: Mapping[str, int], most: int) -> Plans:
    """The plans of the study, extended to `most` seeds."""
    first = report.looks[-1] if report.looks else len(report.study.seeds)
    if most <= first:
        return report.plans or ((first,),)
    return extended(report.plans, schedule(first, most), taken=_taken(report, have))


def _taken(report: ReportStudy, have: Mapping[str, int]) -> bool:
    """Whether the first look of the last plan, or of the study, may have been taken at any hypothesis."""
    look = report.plans[-1][0] if report.plans else max(len(report.study.seeds), FEWEST_SEEDS)
    open_cells = {trial.cell for trial in report.trials if trial.state not in FINAL_STATES}
    for hypothesis in report.study.hypotheses:
        cells = set(cells_of(sides(hypothesis, report.study)))
        fewest = min(have[cell] for cell in cells)
        # A cell has more seeds than the look only after it.
        if fewest > look or (fewest == look and not cells & open_cells):
            return True
    return False


def _seeds_of(report: ReportStudy, seeds: Sequence[int]) -> dict[str, int]:
    """How many of the seeds, taken in order, each cell has."""
    there = {(trial.cell, trial.seed) for trial in report.trials}
    return {
        cell.name: next((index for index, seed in enumerate(seeds) if (cell.name, seed) not in there), len(seeds))
        for cell in report.study.cells
    }


def _goal(verdict: Verdict, have: Mapping[str, int], looks: Sequence[int], most: int) -> int:
    """The number of seeds for the next look at an undecided hypothesis; 0 if there is none."""
    if not verdict.seeds:
        return 0
    return next((look for look in looks if min(have[cell] for cell in verdict.cells) < look <= most), 0)
