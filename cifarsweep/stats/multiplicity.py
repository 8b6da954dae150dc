"""Verdicts on all hypotheses of a study together, so that 5 % is the chance that any of them is false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cifarsweep.stats.estimate import FEWEST_SEEDS
from cifarsweep.stats.evidence import Evidence

Decision = Literal["supported", "refuted", "undecided"]

#: The chance that a study has any false verdict, whichever way, is at most this.
ERROR_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence for one hypothesis of a study amounts to."""

    decision: Decision
    p: float
    """Of this hypothesis alone, both sides together."""
    corrected: float
    """Over all hypotheses and looks; a verdict has at most 0.05."""


def judge(found: Sequence[Evidence | None], levels: Sequence[float] | None = None) -> list[Judgement]:
    """Verdicts on hypotheses of which None has no evidence at all, at looks with these levels; 5 % where none is given.

    A p counts as many times as its look's level goes into the 5 %, and Holm's correction is over the hypotheses. So
    the chance of any false verdict at any look is at most the sum of the levels, whichever looks they differ in.
    """
    raw = [evidence.p if evidence else 1.0 for evidence in found]
    shares = levels or [ERROR_RATE] * len(found)
    corrected = holm([min(1.0, p * ERROR_RATE / level) for p, level in zip(raw, shares, strict=True)])
    return [
        Judgement(_decision(evidence, after), before, after)
        for evidence, before, after in zip(found, raw, corrected, strict=True)
    ]


def _decision(evidence: Evidence | None, corrected: float) -> Decision:
    if evidence is None or corrected > ERROR_RATE:
        return "undecided"
    return "supported" if evidence.support < evidence.refute else "refuted"


def planning_level(found: Sequence[Judgement], level: float = ERROR_RATE) -> float:
    """The one-sided level of a hypothesis that is undecided, at a look of that level, as things stand."""
    undecided = sum(judgement.decision == "undecided" for judgement in found)
    return level / max(undecided, 1) / 2


def holm(p: Sequence[float]) -> list[float]:
    """The p of a family, corrected so that the chance of any false rejection is kept (Holm 1979)."""
    corrected, highest = [1.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = highest
    return corrected


def schedule(first: int, most: int) -> tuple[int, ...]:
    """The seeds at which a sequential study is looked at: twice as many each time, up to `most`.

    Fewer than 3 allow no verdict, so that they are no look. A last look that would add less than half is taken
    together with the one before.
    """
    looks = [max(first, FEWEST_SEEDS)]
    while looks[-1] < most:
        following = min(2 * looks[-1], most)
        looks.append(most if 2 * most < 3 * following else following)
    return tuple(looks)
