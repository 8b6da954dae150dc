"""What the seeds say for a hypothesis and what against it, each as a p of its own.

A hypothesis is one or more statements, all of which must hold. It is shown by showing each of them (intersection-union
test, Berger 1982), and refuted by showing that one fails. One of the two is true, so only one of them can be shown in
error; both are tested, so the p that counts is twice the smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cifarsweep.stats.estimate import FEWEST_SEEDS, BySeed, Estimate, difference, mean, paired_seeds


@dataclass(frozen=True, slots=True)
class Statement:
    """The true value lies above the threshold, or below it for `sign` = -1."""

    estimate: Estimate
    threshold: float
    sign: int = 1

    @property
    def shown(self) -> float:
        """The p of the test that shows it to hold; 1 where there are too few seeds for a verdict."""
        return self._p(self.sign)

    @property
    def failed(self) -> float:
        """The p of the test that shows it to fail; 1 where there are too few seeds for a verdict."""
        return self._p(-self.sign)

    def _p(self, sign: int) -> float:
        return self.estimate.above(self.threshold, sign) if self.estimate.n >= FEWEST_SEEDS else 1.0

    @property
    def lead(self) -> float:
        """How far the estimate is on the right side of the threshold."""
        return self.sign * self.estimate.distance(self.threshold)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The p of both sides, and what they rest on."""

    estimate: Estimate
    """The number that a reader wants to see: of several statements that of the one that decides, see `weakest`."""
    support: float
    refute: float
    statements: tuple[Statement, ...]
    """Empty where the estimate points to the side that only the order of times speaks for; see `sooner`."""
    ways: int = 1
    """Tests that could refute it by chance; `refute` is multiplied by it."""
    weakest: int = 0
    """Which of the statements `estimate` is of: the one that fails, if one does, else the one hardest to show."""
    exact: bool = True
    """Whether the estimate is one of the truth, and not of a bound of it."""

    @property
    def fewest(self) -> int:
        """Seeds of the statement that rests on the fewest."""
        return min((statement.estimate.n for statement in self.statements), default=self.estimate.n)

    @property
    def signs(self) -> bool:
        """Whether a sign test decides, and no t test."""
        return self.estimate.alike or not self.statements

    @property
    def p(self) -> float:
        """Of both sides together."""
        return min(1.0, 2 * min(self.support, self.refute))


def greater(a: BySeed, b: BySeed, margin: float) -> Evidence | None:
    """Side a is above b by more than the margin. None where nothing can be compared."""
    estimate = difference(a, b)
    return _all((Statement(estimate, margin),)) if estimate else None


def not_worse(a: BySeed, b: BySeed, margin: float, sign: int = 1) -> Evidence | None:
    """Side a is less than the margin below b; above it for `sign` = -1, where less is better."""
    estimate = difference(a, b)
    return _all((Statement(estimate, -sign * margin, sign),)) if estimate else None


def equivalent(a: BySeed, b: BySeed, margin: float) -> Evidence | None:
    """The difference lies within the margin: two one-sided tests (Schuirmann 1987)."""
    estimate = difference(a, b)
    return _all(_within(estimate, 0.0, margin)) if estimate else None


def near(a: BySeed, target: float, margin: float) -> Evidence | None:
    """The mean of a lies within the margin of the target."""
    estimate = mean(list(a.values()))
    return _all(_within(estimate, target, margin)) if estimate else None


def reaches(a: BySeed, target: float, sign: int = 1) -> Evidence | None:
    """The mean of a is above the target; below it for `sign` = -1."""
    estimate = mean(list(a.values()))
    return _all((Statement(estimate, target, sign),)) if estimate else None


def best(level: BySeed, others: Sequence[BySeed], sign: int = 1) -> Evidence | None:
    """The level is above every other one, or below for `sign` = -1.

    Refuted by any one that it falls behind, which gets a chance each (Bonferroni).
    """
    estimates = [difference(level, other) for other in others]
    known = [estimate for estimate in estimates if estimate is not None]
    if not known or len(known) < len(estimates):
        return None
    return _all(tuple(Statement(estimate, 0.0, sign) for estimate in known), ways=len(known))


def trend(levels: Sequence[BySeed], sign: int) -> Evidence | None:
    """The values rise along the levels (`sign` 1) or fall (-1): the mean over seeds of each one's least-squares slope.

    The estimate is the rise per level. Seeds count that have all levels; None where there is none.
    """
    shared = sorted(set.intersection(*(set(level) for level in levels))) if len(levels) > 1 else []
    middle = (len(levels) - 1) / 2
    weight = sum((place - middle) ** 2 for place in range(len(levels)))
    slopes = [sum((place - middle) * level[seed] for place, level in enumerate(levels)) / weight for seed in shared]
    estimate = mean(slopes)
    return _all((Statement(estimate, 0.0, sign),)) if estimate else None


def _within(estimate: Estimate, target: float, margin: float) -> tuple[Statement, Statement]:
    return Statement(estimate, target - margin), Statement(estimate, target + margin, -1)


def _all(statements: tuple[Statement, ...], ways: int = 1) -> Evidence:
    """All must hold. The two sides of one estimate can't fail both, so that they are one way to fail."""
    support = max(statement.shown for statement in statements)
    refute = min(1.0, ways * min(statement.failed for statement in statements))
    places = range(len(statements))
    if refute < support:
        weakest = min(places, key=lambda place: (statements[place].failed, statements[place].lead))
    else:
        weakest = min(places, key=lambda place: (-statements[place].shown, statements[place].lead))
    return Evidence(statements[weakest].estimate, support, refute, statements, ways, weakest)


@dataclass(frozen=True, slots=True)
class Reached:
    """When a curve came to a target, or how long it did not."""

    at: float
    """Steps, epochs or seconds, above 0: of the target, or of the end of the curve. Infinite where it never can."""
    reached: bool


def sooner(a: Mapping[int, Reached], b: Mapping[int, Reached]) -> Evidence | None:
    """Side a is at the target before b. The estimate is of the difference of logarithms; its exponential is a ratio.

    A curve that ended below the target would have come there later than it ended, if at all. Where b has such curves,
    the true difference is even more in favour of a than the ends say, and a t test on the ends is safe for a; but it
    says nothing for b. That side is left with the signs: pairs in which it was first for sure against all the others.
    So are both sides where a curve can never come there, which no number stands for.
    """
    if shared := paired_seeds(a, b):
        a, b = ({seed: side[seed] for seed in shared} for side in (a, b))
    times = [one.at for side in (a, b) for one in side.values()]
    latest = max((time for time in times if math.isfinite(time)), default=1.0)
    estimate = difference(*({seed: math.log(min(one.at, latest)) for seed, one in side.items()} for side in (a, b)))
    if estimate is None:
        return None
    statement = Statement(estimate, 0.0, -1)
    # Pairs that are all alike are left to the signs too: of equal times one may be that of a curve which did not come.
    measured = all(map(math.isfinite, times)) and not (shared and estimate.alike)
    a_all, b_all = (all(one.reached for one in side.values()) for side in (a, b))
    support = statement.shown if a_all and measured else _signs(a, b)
    refute = statement.failed if b_all and measured else _signs(b, a)
    testable = measured and (a_all if statement.lead > 0 else b_all)
    return Evidence(estimate, support, refute, (statement,) if testable else (), exact=a_all and b_all)


def _before(one: Reached, other: Reached) -> bool:
    """Whether it came first for sure. A curve that ended below the target would have come later than it ended."""
    return one.reached and (one.at < other.at or (one.at == other.at and not other.reached))


def _signs(first: Mapping[int, Reached], second: Mapping[int, Reached]) -> float:
    """The p of the sign test that `first` comes first in most pairs; a pair whose order is not known counts against."""
    from scipy.special import bdtrc

    shared = first.keys() & second.keys()
    wins = sum(_before(first[seed], second[seed]) for seed in shared)
    # bdtrc(k, n, p) is the chance of more than k successes.
    return float(bdtrc(wins - 1, len(shared), 0.5)) if wins else 1.0
