"""Evidence for and against a hypothesis, each with its own p.

A hypothesis is one or more statements, all of which must hold. Showing each of them supports it (intersection-union
test, Berger 1982); showing that one fails refutes it. Where refutation says no more than that the hypothesis does not
hold, one of the two is true and only one can be shown in error: the p of the hypothesis is the smaller one. Where it
says more, as "below" where the hypothesis says "above", both can be wrong, and p is twice the smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cifarsweep.stats.estimate import FEWEST_SEEDS, Cells, Estimate, Sample, contrast, difference, mean
from cifarsweep.stats.summary import Interval


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
    ways: int = 1
    """Number of tests that could refute it by chance; `refute` is multiplied by it."""
    weakest: int = 0
    """The index of the statement of `estimate`: the one that fails, if one does, else the one hardest to show."""
    exact: bool = True
    """Whether `estimate` estimates the true value, not a bound of it."""
    sides: Literal[1, 2] = 1
    """2 if both support and refutation can be wrong, so that p is doubled."""

    @property
    def fewest(self) -> int:
        """The seeds of the statement with the fewest."""
        return min(statement.estimate.n for statement in self.statements)

    @property
    def p(self) -> float:
        """The p of support and refutation together."""
        return min(1.0, self.sides * min(self.support, self.refute))

    def decisive(self, level: float) -> Interval | None:
        """Return the interval that decides at this level of p: supported if it lies wholly where the claim holds.

        It is refuted if the interval lies wholly where the claim fails. None with too few seeds for a verdict.
        """
        statement = self.statements[self.weakest]
        if statement.estimate.n < FEWEST_SEEDS:
            return None
        to_support, to_refute = level / self.sides, level / self.sides / self.ways
        ends = (to_support, to_refute) if statement.sign > 0 else (to_refute, to_support)
        return statement.estimate.interval(*ends)


def greater(a: Cells, b: Cells, margin: float) -> Evidence | None:
    """Test that a is above b by more than the margin. None if nothing can be compared.

    Without a margin, refutation says that a is below b.
    """
    estimate = difference(a, b)
    return _all((Statement(estimate, margin),), sides=1 if margin else 2) if estimate else None


def not_worse(a: Cells, b: Cells, margin: float, sign: int = 1) -> Evidence | None:
    """Test that a is less than the margin below b; above it for `sign` = -1, if less is better."""
    estimate = difference(a, b)
    return _all((Statement(estimate, -sign * margin, sign),)) if estimate else None


def equivalent(a: Cells, b: Cells, margin: float) -> Evidence | None:
    """Test that the difference lies within the margin: two one-sided tests (Schuirmann 1987)."""
    estimate = difference(a, b)
    return _all(_within(estimate, 0.0, margin)) if estimate else None


def near(a: Cells, target: float, margin: float) -> Evidence | None:
    """Test that the mean of a lies within the margin of the target."""
    estimate = mean(a)
    return _all(_within(estimate, target, margin)) if estimate else None


def reaches(a: Cells, target: float, sign: int = 1) -> Evidence | None:
    """Test that the mean of a is above the target; below it for `sign` = -1."""
    estimate = mean(a)
    return _all((Statement(estimate, target, sign),)) if estimate else None


def best(level: Cells, others: Sequence[Cells], sign: int = 1) -> Evidence | None:
    """Test that the level is above every other one, or below for `sign` = -1; refutation says that one is better.

    Any other level may refute it, so these tests are corrected by Bonferroni.
    """
    estimates = [difference(level, other) for other in others]
    known = [estimate for estimate in estimates if estimate is not None]
    if not known or len(known) < len(estimates):
        return None
    return _all(tuple(Statement(estimate, 0.0, sign) for estimate in known), ways=len(known), sides=2)


def trend(levels: Sequence[Cells], sign: int) -> Evidence | None:
    """Test that the values rise along the levels (`sign` 1) or fall (-1), by the least-squares slope of their means.

    The estimate is the rise per level. Refutation says the opposite direction. None with fewer than two levels.
    """
    middle = (len(levels) - 1) / 2
    weight = sum((index - middle) ** 2 for index in range(len(levels)))
    if not weight:
        return None
    estimate = contrast(
        [((at - middle) / weight / len(cells), cell) for at, cells in enumerate(levels) for cell in cells]
    )
    return _all((Statement(estimate, 0.0, sign),), sides=2) if estimate else None


def _within(estimate: Estimate, target: float, margin: float) -> tuple[Statement, Statement]:
    return Statement(estimate, target - margin), Statement(estimate, target + margin, -1)


def _all(statements: tuple[Statement, ...], ways: int = 1, sides: Literal[1, 2] = 1) -> Evidence:
    """Return the evidence that all statements hold. The two sides of one estimate can't both fail: one `ways`."""
    support = max(statement.shown for statement in statements)
    refute = min(1.0, ways * min(statement.failed for statement in statements))
    indices = range(len(statements))
    if refute < support:
        weakest = min(indices, key=lambda index: (statements[index].failed, statements[index].lead))
    else:
        weakest = min(indices, key=lambda index: (-statements[index].shown, statements[index].lead))
    return Evidence(statements[weakest].estimate, support, refute, statements, ways, weakest, sides=sides)


@dataclass(frozen=True, slots=True)
class Reached:
    """When a curve reached a target, or how long it did not."""

    at: float
    """Steps, epochs or seconds, above 0: at the target, or at the end of the curve. Infinite if it never can."""
    reached: bool
    step: float = 0.0
    """The distance to the evaluation before, in the same unit: it was reached somewhere between the two."""
    end: float = 0.0
    """The end of the curve, in the same unit."""


def sooner(a: Sequence[Sequence[Reached]], b: Sequence[Sequence[Reached]]) -> Evidence | None:
    """Test that a reaches the target before b. The estimate is a difference of logarithms; its exponential is a ratio.

    A curve that ended below the target would have reached it after its end, if at all. It counts as the end of its
    budget. Where budgets differ, it counts as its own end, which is the earliest it can be, in the test against its
    side's being sooner, and as the longest of all in the test for it. The logarithm of a time is at least as uncertain
    as the way between two evaluations: a uniform distribution over a step has the variance step^2 / 12.
    """
    times = [time for cells in (a, b) for cell in cells for time in cell]
    longest = max((end for time in times for end in (time.end, time.at) if math.isfinite(end)), default=0.0) or 1.0
    a_first = difference(_log_times(a, longest, late=True), _log_times(b, longest, late=False))
    b_first = difference(_log_times(a, longest, late=False), _log_times(b, longest, late=True))
    if a_first is None or b_first is None:
        return None
    support, refute = Statement(a_first, 0.0, -1), Statement(b_first, 0.0, -1)
    likelier = support if support.lead > 0 else refute
    exact = all(time.reached for time in times)
    return Evidence(likelier.estimate, support.shown, refute.failed, (likelier,), exact=exact, sides=2)


def _log_times(cells: Sequence[Sequence[Reached]], longest: float, *, late: bool) -> list[Sample]:
    """Return the logarithms of the times; of a curve that ended below the target, the latest or earliest it can be."""
    samples = []
    for cell in cells:
        at = [longest if not one.reached and (late or math.isinf(one.at)) else one.at for one in cell]
        steps = [(one.step / time) ** 2 / 12 for one, time in zip(cell, at, strict=True)]
        samples.append(Sample(tuple(map(math.log, at)), float(np.mean(steps)) if steps else 0.0))
    return samples
