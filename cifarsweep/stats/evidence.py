"""Evidence for and against a hypothesis, each with its own p.

A hypothesis is one or more statements, all of which must hold. Showing each of them supports it (intersection-union
test, Berger 1982); showing that one fails refutes it. One of the two is true, so only one can be shown in error. Both
are tested, so the p of the hypothesis is twice the smaller one.
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
        """The p of the test that it holds; 1 with too few seeds for a verdict."""
        return self._p(self.sign)

    @property
    def failed(self) -> float:
        """The p of the test that it fails; 1 with too few seeds for a verdict."""
        return self._p(-self.sign)

    def _p(self, sign: int) -> float:
        return self.estimate.above(self.threshold, sign) if self.estimate.n >= FEWEST_SEEDS else 1.0

    @property
    def lead(self) -> float:
        """The distance of the estimate from the threshold, on the side of the statement."""
        return self.sign * self.estimate.distance(self.threshold)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The p of support and refutation, with their statements."""

    estimate: Estimate
    """The estimate for readers: of several statements that of the decisive one, see `weakest`."""
    support: float
    refute: float
    statements: tuple[Statement, ...]
    """Empty if only the order of times can show the side of the estimate; see `sooner`."""
    ways: int = 1
    """Number of tests that could refute it by chance; `refute` is multiplied by it."""
    weakest: int = 0
    """The index of the statement of `estimate`: the one that fails, if one does, else the one hardest to show."""
    exact: bool = True
    """Whether `estimate` estimates the true value, not a bound of it."""

    @property
    def fewest(self) -> int:
        """The seeds of the statement with the fewest."""
        return min((statement.estimate.n for statement in self.statements), default=self.estimate.n)

    @property
    def signs(self) -> bool:
        """Whether a sign test decides instead of a t test."""
        return self.estimate.alike or not self.statements

    @property
    def p(self) -> float:
        """The p of support and refutation together."""
        return min(1.0, 2 * min(self.support, self.refute))


def greater(a: BySeed, b: BySeed, margin: float) -> Evidence | None:
    """Test that a is above b by more than the margin. None if nothing can be compared."""
    estimate = difference(a, b)
    return _all((Statement(estimate, margin),)) if estimate else None


def not_worse(a: BySeed, b: BySeed, margin: float, sign: int = 1) -> Evidence | None:
    """Test that a is less than the margin below b; above it for `sign` = -1, if less is better."""
    estimate = difference(a, b)
    return _all((Statement(estimate, -sign * margin, sign),)) if estimate else None


def equivalent(a: BySeed, b: BySeed, margin: float) -> Evidence | None:
    """Test that the difference lies within the margin: two one-sided tests (Schuirmann 1987)."""
    estimate = difference(a, b)
    return _all(_within(estimate, 0.0, margin)) if estimate else None


def near(a: BySeed, target: float, margin: float) -> Evidence | None:
    """Test that the mean of a lies within the margin of the target."""
    estimate = mean(list(a.values()))
    return _all(_within(estimate, target, margin)) if estimate else None


def reaches(a: BySeed, target: float, sign: int = 1) -> Evidence | None:
    """Test that the mean of a is above the target; below it for `sign` = -1."""
    estimate = mean(list(a.values()))
    return _all((Statement(estimate, target, sign),)) if estimate else None


def best(level: BySeed, others: Sequence[BySeed], sign: int = 1) -> Evidence | None:
    """Test that the level is above every other one, or below for `sign` = -1.

    Any other level may refute it, so these tests are corrected by Bonferroni.
    """
    estimates = [difference(level, other) for other in others]
    known = [estimate for estimate in estimates if estimate is not None]
    if not known or len(known) < len(estimates):
        return None
    return _all(tuple(Statement(estimate, 0.0, sign) for estimate in known), ways=len(known))


def trend(levels: Sequence[BySeed], sign: int) -> Evidence | None:
    """Test that the values rise along the levels (`sign` 1) or fall (-1), by each seed's least-squares slope.

    The estimate is the rise per level. Seeds with all levels count; None without any.
    """
    shared = sorted(set.intersection(*(set(level) for level in levels))) if len(levels) > 1 else []
    middle = (len(levels) - 1) / 2
    weight = sum((index - middle) ** 2 for index in range(len(levels)))
    slopes = [sum((index - middle) * level[seed] for index, level in enumerate(levels)) / weight for seed in shared]
    estimate = mean(slopes)
    return _all((Statement(estimate, 0.0, sign),)) if estimate else None


def _within(estimate: Estimate, target: float, margin: float) -> tuple[Statement, Statement]:
    return Statement(estimate, target - margin), Statement(estimate, target + margin, -1)


def _all(statements: tuple[Statement, ...], ways: int = 1) -> Evidence:
    """Return the evidence that all statements hold. The two sides of one estimate can't both fail: one `ways`."""
    support = max(statement.shown for statement in statements)
    refute = min(1.0, ways * min(statement.failed for statement in statements))
    indices = range(len(statements))
    if refute < support:
        weakest = min(indices, key=lambda index: (statements[index].failed, statements[index].lead))
    else:
        weakest = min(indices, key=lambda index: (-statements[index].shown, statements[index].lead))
    return Evidence(statements[weakest].estimate, support, refute, statements, ways, weakest)


@dataclass(frozen=True, slots=True)
class Reached:
    """When a curve reached a target, or how long it did not."""

    at: float
    """Steps, epochs or seconds, above 0: at the target, or at the end of the curve. Infinite if it never can."""
    reached: bool


def sooner(a: Mapping[int, Reached], b: Mapping[int, Reached]) -> Evidence | None:
    """Test that a reaches the target before b. The estimate is a difference of logarithms; its exponential is a ratio.

    A curve that ended below the target would have reached it after its end, if at all. If b has such curves, the true
    difference is even more in favour of a than the ends say, so a t test on the ends is valid for a, but not for b: b
    is tested by signs, the pairs in which it was certainly first against all others. Both sides are tested by signs if
    a curve can never reach the target, since no number stands for that.
    """
    if shared := paired_seeds(a, b):
        a, b = ({seed: side[seed] for seed in shared} for side in (a, b))
    times = [one.at for side in (a, b) for one in side.values()]
    latest = max((time for time in times if math.isfinite(time)), default=1.0)
    estimate = difference(*({seed: math.log(min(one.at, latest)) for seed, one in side.items()} for side in (a, b)))
    if estimate is None:
        return None
    statement = Statement(estimate, 0.0, -1)
    # Pairs that are all alike are tested by signs too: of equal times one may belong to a curve below the target.
    measured = all(map(math.isfinite, times)) and not (shared and estimate.alike)
    a_all, b_all = (all(one.reached for one in side.values()) for side in (a, b))
    support = statement.shown if a_all and measured else _signs(a, b)
    refute = statement.failed if b_all and measured else _signs(b, a)
    testable = measured and (a_all if statement.lead > 0 else b_all)
    return Evidence(estimate, support, refute, (statement,) if testable else (), exact=a_all and b_all)


def _before(one: Reached, other: Reached) -> bool:
    """Whether `one` was certainly first. A curve that ended below the target would reach it after its end."""
    return one.reached and (one.at < other.at or (one.at == other.at and not other.reached))


def _signs(first: Mapping[int, Reached], second: Mapping[int, Reached]) -> float:
    """Return the p of the sign test that `first` wins most pairs; a pair of unknown order counts against it."""
    from scipy.special import bdtrc

    shared = first.keys() & second.keys()
    wins = sum(_before(first[seed], second[seed]) for seed in shared)
    # bdtrc(k, n, p) is the chance of more than k successes.
    return float(bdtrc(wins - 1, len(shared), 0.5)) if wins else 1.0
