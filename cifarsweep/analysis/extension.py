"""Which seeds a study should have next: more for the cells that an undecided hypothesis needs, and for no others.

Whoever looks again and again until something shows will find it. So the looks are planned before the first one can be
taken: after 3, 6, 12 ... seeds. Each is made at its share of the 5 %, and only when every trial that counts at it is
final. A hypothesis is then tested at no other numbers of seeds than these, and its chance of a false verdict at any of
them is at most the sum of the shares. Where a look was taken before, what follows costs more than the 5 %: a half of
what the plan before it had.
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
    """What a look at a study leads to."""

    plans: Plans
    """The numbers of seeds at which the study is looked at, by plan, those of earlier plans among them."""
    unplanned: bool
    """Whether a look may have been taken that was not planned together with those that are new."""
    verdicts: tuple[Verdict, ...]
    """At the level of these looks."""
    unfinished: int
    """Trials that must be final before anything is looked at; nothing is added while there are any."""
    added: tuple[tuple[str, int], ...]
    """Trials to add, by cell and seed."""
    stuck: tuple[Verdict, ...]
    """Undecided, with no look left, or with nothing to test that more seeds would give."""


def next_seeds(report: ReportStudy, most: int) -> Extension:
    """Look at the study and say which trials to add, up to `most` seeds a cell."""
    seeds = seed_order(report.study, max(most, len(report.study.seeds)))
    have = _seeds_of(report, seeds)
    plans = _plans(report, have, most)
    found = tuple(verdicts(replace(report, plans=plans)))
    needed = {cell for verdict in found for cell in verdict.cells}
    unfinished = sum(trial.cell in needed and trial.state not in FINAL_STATES for trial in report.trials)
    looks = sorted(seeds for plan in plans for seeds in plan)
    goals = [(verdict, _goal(verdict, have, looks, most)) for verdict in found if verdict.decision == "undecided"]
    added = tuple(
        (cell.name, seed)
        for place, seed in enumerate(seeds)
        for cell in report.study.cells
        if have[cell.name] <= place < max((goal for one, goal in goals if cell.name in one.cells), default=0)
        and not unfinished
    )
    stuck = tuple(verdict for verdict, goal in goals if not goal)
    return Extension(plans, len(plans) > max(1, len(report.plans)), found, unfinished, added, stuck)


def _plans(report: ReportStudy, have: Mapping[str, int], most: int) -> Plans:
    """The plans of the report, and what must be planned beyond them for `most` seeds."""
    first = report.looks[-1] if report.looks else len(report.study.seeds)
    if most <= first:
        return report.plans or ((first,),)
    return extended(report.plans, schedule(first, most), taken=_taken(report, have))


def _taken(report: ReportStudy, have: Mapping[str, int]) -> bool:
    """Whether anybody can have taken the first look of the last plan, or of the study, at any hypothesis."""
    look = report.plans[-1][0] if report.plans else max(len(report.study.seeds), FEWEST_SEEDS)
    open_cells = {trial.cell for trial in report.trials if trial.state not in FINAL_STATES}
    for hypothesis in report.study.hypotheses:
        cells = set(cells_of(sides(hypothesis, report.study)))
        fewest = min(have[cell] for cell in cells)
        # More seeds than the look has come after it alone.
        if fewest > look or (fewest == look and not cells & open_cells):
            return True
    return False


def _seeds_of(report: ReportStudy, seeds: Sequence[int]) -> dict[str, int]:
    """How many of the seeds, in their order, each cell has."""
    there = {(trial.cell, trial.seed) for trial in report.trials}
    return {
        cell.name: next((place for place, seed in enumerate(seeds) if (cell.name, seed) not in there), len(seeds))
        for cell in report.study.cells
    }


def _goal(verdict: Verdict, have: Mapping[str, int], looks: Sequence[int], most: int) -> int:
    """How many seeds the cells of an undecided hypothesis should have for its next look; 0 where there is none."""
    if not verdict.seeds:
        return 0
    return next((look for look in looks if min(have[cell] for cell in verdict.cells) < look <= most), 0)
