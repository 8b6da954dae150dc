"""Which seeds a study should have next: more for the cells that an undecided hypothesis needs, and for no others.

Whoever looks again and again until something shows will find it. So the looks are planned before the first extension:
after 3, 6, 12 ... seeds. Each is made at its share of the 5 %, and only when every trial that counts at it is final. A
hypothesis is then tested at no other numbers of seeds than these, and its chance of a false verdict at any of them is
at most the sum of the shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cifarsweep.report.source import ReportStudy
from cifarsweep.report.verdict import Verdict
from cifarsweep.report.verdicts import verdicts
from cifarsweep.spec.study import Study
from cifarsweep.spec.words import FINAL_STATES
from cifarsweep.stats.decision import schedule


@dataclass(frozen=True, slots=True)
class Extension:
    """What a look at a study leads to."""

    looks: tuple[int, ...]
    """The numbers of seeds at which the study is looked at, those of earlier plans among them."""
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
    first = report.looks[-1] if report.looks else len(report.study.seeds)
    # As long as the plan is the same the rest of it is there already, and nothing is added to it.
    looks = tuple(sorted({*report.looks, *schedule(first, most)})) if most > first else report.looks or (first,)
    found = tuple(verdicts(replace(report, looks=looks)))
    needed = {cell for verdict in found for cell in verdict.cells}
    unfinished = sum(trial.cell in needed and trial.state not in FINAL_STATES for trial in report.trials)
    seeds = seed_order(report.study, max(most, len(report.study.seeds)))
    have = _seeds_of(report, seeds)
    undecided = [verdict for verdict in found if verdict.decision == "undecided"]
    goals = {id(verdict): _goal(verdict, have, looks, most) for verdict in undecided}
    goal_of = {
        cell.name: max((goals[id(one)] for one in undecided if cell.name in one.cells), default=0)
        for cell in report.study.cells
    }
    added = tuple(
        (cell.name, seed)
        for place, seed in enumerate(seeds)
        for cell in report.study.cells
        if have[cell.name] <= place < goal_of[cell.name] and not unfinished
    )
    stuck = tuple(verdict for verdict in undecided if not goals[id(verdict)])
    return Extension(looks, found, unfinished, added, stuck)


def seed_order(study: Study, count: int) -> tuple[int, ...]:
    """The seeds of the study, and after them whole numbers that none of them is."""
    following = range(max(study.seeds) + 1, max(study.seeds) + 1 + max(0, count - len(study.seeds)))
    return (*study.seeds, *following)


def _seeds_of(report: ReportStudy, seeds: Sequence[int]) -> dict[str, int]:
    """How many of the seeds, in their order, each cell has."""
    there = {(trial.cell, trial.seed) for trial in report.trials}
    return {
        cell.name: next((place for place, seed in enumerate(seeds) if (cell.name, seed) not in there), len(seeds))
        for cell in report.study.cells
    }


def _goal(verdict: Verdict, have: Mapping[str, int], looks: Sequence[int], most: int) -> int:
    """How many seeds the cells of an undecided hypothesis should have for its next look; 0 where there is none."""
    if verdict.estimate is None:
        return 0
    return next((look for look in looks if min(have[cell] for cell in verdict.cells) < look <= most), 0)
