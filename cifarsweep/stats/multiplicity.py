"""Verdicts on all hypotheses of a study at all its looks, so that 5 % is the chance that any of them is false.

The hypotheses are corrected by Holm's method. A plan of looks that is made before its first look can be taken shares
the 5 % among its looks (Bonferroni). Looks that are added after one was taken get a half of the 5 % together, and
those that are added after these a half of the half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cifarsweep.stats.estimate import FEWEST_SEEDS
from cifarsweep.stats.evidence import Evidence

Decision = Literal["supported", "refuted", "undecided"]

#: The chance that a study has any false verdict is at most this.
ERROR_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Judgement:
    """The decision on one hypothesis of a study."""

    decision: Decision
    p: float
    """The p of this hypothesis alone, both sides together."""
    corrected: float
    """The p corrected for all hypotheses and looks; a verdict has at most 0.05."""


def judge(found: Sequence[Evidence | None], levels: Sequence[float] | None = None) -> list[Judgement]:
    """Decide on hypotheses, at looks with these levels, by default 5 %. None stands for no evidence.

    A p is multiplied by 5 % over the level of its look, then Holm's correction covers the hypotheses. So the chance of
    any false verdict at any look is at most the sum of the levels, even if hypotheses are at different looks.
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
    """Return the one-sided level for an undecided hypothesis, at a look of that level, given the other decisions."""
    undecided = sum(judgement.decision == "undecided" for judgement in found)
    return level / max(undecided, 1) / 2


def holm(p: Sequence[float]) -> list[float]:
    """Correct the p of a family so that the chance of any false rejection is kept (Holm 1979)."""
    corrected, highest = [1.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


def schedule(first: int, most: int) -> tuple[int, ...]:
    """Return the numbers of seeds at which a sequential study is looked at: doubling, up to `most`.

    The first look has at least 3, since fewer allow no verdict. A last look that would add less than half is merged
    with the one before.
    """
    looks = [max(first, FEWEST_SEEDS)]
    while looks[-1] < most:
        following = min(2 * looks[-1], most)
        looks.append(most if 2 * most < 3 * following else following)
    return tuple(looks)


#: The numbers of seeds at the looks of each plan, in the order of the plans. No plan means one look at 5 %.
Plans = tuple[tuple[int, ...], ...]


def levels(plans: Plans) -> dict[int, float]:
    """Return the level of each look by its number of seeds."""
    return {seeds: ERROR_RATE / 2**index / len(plan) for index, plan in enumerate(plans) for seeds in plan}


def bound(plans: Plans) -> float:
    """Return the bound of the chance of any false verdict at any look."""
    return math.fsum(levels(plans).values()) if plans else ERROR_RATE


def level_at(plans: Plans, seeds: int) -> float:
    """Return the level of the look for so many seeds: the first with at least as many, else the last."""
    made = sorted(levels(plans).items())
    return next((level for look, level in made if look >= seeds), made[-1][1] if made else ERROR_RATE)


def level_after(plans: Plans, seeds: int) -> float:
    """Return the level of the next look after so many seeds; if none is planned, that of the next plan."""
    made = sorted(levels(plans).items())
    return next((level for look, level in made if look > seeds), ERROR_RATE / 2 ** max(1, len(plans)))


def extended(plans: Plans, looks: Sequence[int], *, taken: bool) -> Plans:
    """Return the plans with these looks, the first of which is the present one.

    `taken` says whether the present look may have been taken: new looks then form a plan of their own.
    """
    known = {seeds for plan in plans for seeds in plan}
    new = tuple(seeds for seeds in looks if seeds not in known)
    if not new:
        return plans
    if not plans:
        return (new[:1], new[1:]) if taken and len(new) > 1 else (new,)
    return (*plans, new) if taken else (*plans[:-1], tuple(sorted({*plans[-1], *new})))
