"""When the data are looked at, and at which level: a false verdict at any look has at most the sum of the levels.

A plan that is made before its first look can be taken shares the 5 % among its looks (Bonferroni). Whoever looks first,
at the full 5 %, and then goes on has spent it already: what follows shares a half of it, and what follows after that a
half of the half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cifarsweep.stats.multiplicity import ERROR_RATE

#: The numbers of seeds at which each plan looks, in the order in which the plans were made; none is one look at 5 %.
Plans = tuple[tuple[int, ...], ...]


def levels(plans: Plans) -> dict[int, float]:
    """The level of each look, by its number of seeds."""
    return {seeds: ERROR_RATE / 2**place / len(plan) for place, plan in enumerate(plans) for seeds in plan}


def bound(plans: Plans) -> float:
    """The chance of any false verdict at any of the looks is at most this."""
    return math.fsum(levels(plans).values()) if plans else ERROR_RATE


def level_at(plans: Plans, seeds: int) -> float:
    """Of the look that so many seeds are for: the first one with as many, else the last."""
    made = sorted(levels(plans).items())
    return next((level for look, level in made if look >= seeds), made[-1][1] if made else ERROR_RATE)


def level_after(plans: Plans, seeds: int) -> float:
    """Of the look that comes after the one at so many seeds; where none is planned, of the plan that would be made."""
    made = sorted(levels(plans).items())
    return next((level for look, level in made if look > seeds), ERROR_RATE / 2 ** max(1, len(plans)))


def extended(plans: Plans, looks: Sequence[int], *, taken: bool) -> Plans:
    """The plans with these looks, the first of which is the present one.

    `taken` says whether the present look may have been taken: then those that are new are a plan of their own.
    """
    known = {seeds for plan in plans for seeds in plan}
    new = tuple(seeds for seeds in looks if seeds not in known)
    if not new:
        return plans
    if not plans:
        return (new[:1], new[1:]) if taken and len(new) > 1 else (new,)
    return (*plans, new) if taken else (*plans[:-1], tuple(sorted({*plans[-1], *new})))
