"""Tells runs that trained from runs that fell out: these diverged, or ended no better than a guess.

Whether a run trains is an outcome of its own. As a value beside those of the others, it would hide what they have in
common. So runs that trained are compared, and those that fell out are counted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cifarsweep.spec.metrics import LARGEST_CLASS, VAL_IMAGES
from cifarsweep.stats.shares import Guess, share_at_most

if TYPE_CHECKING:
    from cifarsweep.analysis.records import ReportTrial


@dataclass(frozen=True, slots=True)
class FallenOut:
    """How many runs of some cells fell out."""

    count: int
    of: int

    @property
    def at_most(self) -> float:
        """The 95 % upper bound of the share of runs that fall out."""
        return share_at_most(self.count, self.of)

    @property
    def every(self) -> bool:
        """Whether none of them trained."""
        return self.count == self.of > 0


def recorded_guess(final: Mapping[str, float]) -> Guess | None:
    """What guessing gives on a trial's validation images, from its last metrics; None if it did not record them."""
    images, largest = final.get(VAL_IMAGES, 0.0), final.get(LARGEST_CLASS, 0.0)
    return Guess(largest / images, round(images)) if 0 < largest <= images < math.inf else None


def fallen_out(trials: Iterable[ReportTrial]) -> FallenOut:
    """Count the runs that ended, pruned ones aside, and those of them that fell out."""
    ended = [trial for trial in trials if trial.done and not trial.pruned]
    return FallenOut(sum(trial.fell_out for trial in ended), len(ended))


def compared_runs(trials: Collection[ReportTrial]) -> list[ReportTrial]:
    """The runs of one cell that stand for it: those that trained, or all of a cell that does not train."""
    every = fallen_out(trials).every
    return [trial for trial in trials if every or not trial.fell_out]


def compared_by_seed(done: Mapping[str, Mapping[int, ReportTrial]]) -> dict[str, dict[int, ReportTrial]]:
    """The same for each cell of trials by cell and seed."""
    return {cell: {trial.seed: trial for trial in compared_runs(trials.values())} for cell, trials in done.items()}
