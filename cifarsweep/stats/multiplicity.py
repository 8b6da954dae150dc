"""Verdicts on all hypotheses of a study at all its looks, so that 5 % is the chance that any of them is false.

The tests are corrected by Holm's method; hypotheses that are the same test count once. A plan of looks that is made
before its first look can be taken spends the 5 % in proportion to the seeds that each look adds, as with the linear
spending function of Lan and DeMets (1983, Biometrika 70), but without counting on the correlation of looks. Looks that
are added after one was taken get a half of the 5 % together, and those that are added after these a half of the half.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
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
    """The p of this hypothesis alone; see `Evidence.p`."""
    corrected: float
    """The p corrected for all tests and looks; a verdict has at most 0.05."""
    level: float
    """What the p was held against: the level of the look over the number of tests that Holm's method counts here."""


def judge(
    found: Sequence[Evidence | None], levels: Sequence[float] | None = None, tests: Sequence[Hashable] | None = None
) -> list[Judgement]:
    """Decide on hypotheses, at looks with these levels, by default 5 %. None stands for no evidence.

    A p is multiplied by 5 % over the level of its look, then Holm's correction covers the tests: hypotheses with equal
    `tests` are one, by default each is its own. So the chance of any false verdict at any look is at most the sum of
    the levels, even if hypotheses are at different looks.
    """
    raw = [evidence.p if evidence else 1.0 for evidence in found]
    shares = levels or [ERROR_RATE] * len(found)
    keys = list(range(len(found))) if tests is None else list(tests)
    scaled: dict[Hashable, float] = {}
    for key, p, level in zip(keys, raw, shares, strict=True):
        scaled[key] = min(1.0, p * ERROR_RATE / level, scaled.get(key, 1.0))
    corrected = dict(zip(scaled, holm(list(scaled.values())), strict=True))
    decided = [p for key, p in scaled.items() if corrected[key] <= ERROR_RATE]
    judged = []
    for evidence, key, p, level in zip(found, keys, raw, shares, strict=True):
        before = sum(other < scaled[key] for other in decided)
        decision = _decision(evidence, corrected[key])
        judged.append(Judgement(decision, p, corrected[key], level / (len(scaled) - before)))
    return judged


def _decision(evidence: Evidence | None, corrected: float) -> Decision:
    if evidence is None or corrected > ERROR_RATE:
        return "undecided"
    return "supported" if evidence.support < evidence.refute else "refuted"


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
    """Return the level of each look by its number of seeds: its share of the seeds that its plan adds."""
    found: dict[int, float] = {}
    for index, plan in enumerate(plans):
        added: dict[int, int] = {}
        for seeds in sorted(plan):
            added[seeds] = seeds - max((look for look in (*found, *added) if look < seeds), default=0)
        found |= {seeds: ERROR_RATE / 2**index * (new / sum(added.values())) for seeds, new in added.items()}
    return found


def bound(plans: Plans) -> float:
    """Return the bound of the chance of any false verdict at any look."""
    return math.fsum(levels(plans).values()) if plans else ERROR_RATE


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
