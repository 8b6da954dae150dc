"""Verdicts on all hypotheses of a study together, so that 5 % is the chance that any of them is false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cifarsweep.stats.evidence import FEWEST_SEEDS, Evidence

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


def judge(found: Sequence[Evidence | None], looks: int = 1) -> list[Judgement]:
    """Verdicts on hypotheses of which None has no evidence at all, at one of `looks` planned looks at the data.

    Holm's correction over the hypotheses, Bonferroni's over the looks.
    """
    raw = [evidence.p if evidence else 1.0 for evidence in found]
    corrected = [min(1.0, looks * p) for p in holm(raw)]
    return [
        Judgement(_decision(evidence, after), before, after)
        for evidence, before, after in zip(found, raw, corrected, strict=True)
    ]


def _decision(evidence: Evidence | None, corrected: float) -> Decision:
    if evidence is None or corrected > ERROR_RATE:
        return "undecided"
    return "supported" if evidence.support < evidence.refute else "refuted"


def planning_level(found: Sequence[Judgement], looks: int = 1) -> float:
    """The one-sided level at which a hypothesis that is undecided would get its verdict, as things stand."""
    undecided = sum(judgement.decision == "undecided" for judgement in found)
    return ERROR_RATE / looks / max(undecided, 1) / 2


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
