"""The number of seeds for a verdict, if the estimate is the true value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cifarsweep.stats.estimate import FEWEST_SEEDS
from cifarsweep.stats.evidence import Evidence, Statement
from cifarsweep.stats.summary import Floats

#: The wanted chance of a verdict.
POWER = 0.8
#: The search ends at so many seeds: the answer is "more".
MOST_SEEDS = 200


def seeds_needed(evidence: Evidence, level: float) -> int | None:
    """Return the fewest seeds at which the estimate, if true, gets its verdict with power 0.8; None beyond 200.

    `level` is what its p is held against. The spread is the observed one, so the answer is rough for few seeds.
    """
    if evidence.fewest < 2:
        return FEWEST_SEEDS
    n = np.arange(FEWEST_SEEDS, MOST_SEEDS + 1)
    enough = _chance(evidence, n, level / evidence.sides) >= POWER
    return int(n[enough][0]) if enough.any() else None


def chance_at(evidence: Evidence, seeds: int, level: float) -> float:
    """Return the chance of a verdict with so many seeds in each cell, if estimate and spread are true."""
    return float(_chance(evidence, np.array([seeds]), level / evidence.sides)[0])


def seeds_range(evidence: Evidence, level: float) -> tuple[int | None, int | None]:
    """Return `seeds_needed` at both ends of the 80 % interval of the spread (chi-squared): few seeds hardly tell it."""
    from scipy.special import chdtri

    df = min(statement.estimate.df for statement in evidence.statements)
    low, high = (_with_spread(evidence, math.sqrt(df / chdtri(df, above))) for above in (0.1, 0.9))
    return seeds_needed(low, level), seeds_needed(high, level)


def _with_spread(evidence: Evidence, factor: float) -> Evidence:
    estimates = [replace(one.estimate, error=one.estimate.error * factor) for one in evidence.statements]
    pairs = zip(evidence.statements, estimates, strict=True)
    return replace(evidence, statements=tuple(replace(one, estimate=estimate) for one, estimate in pairs))


def _chance(evidence: Evidence, n: npt.NDArray[np.integer], level: float) -> Floats:
    """Return the chance of a verdict in the direction of the estimate, by one-sided tests at the level."""
    if all(statement.lead > 0 for statement in evidence.statements):
        # A lower bound (Bonferroni), exact for the two sides of one estimate.
        return 1 - sum((1 - power(statement, n, level) for statement in evidence.statements), np.zeros(n.shape))
    failing = [Statement(s.estimate, s.threshold, -s.sign) for s in evidence.statements if s.lead < 0]
    chances = [power(statement, n, level / evidence.ways) for statement in failing]
    return np.max(chances, axis=0) if chances else np.zeros(n.shape)


def power(statement: Statement, n: npt.NDArray[np.integer], level: float) -> Floats:
    """Return the chance to show the statement at each number of seeds a cell, if estimate and spread are true.

    By the noncentral t distribution (Cohen 1988), whose degrees of freedom grow with the seeds.
    """
    from scipy.special import nctdtr, stdtrit

    estimate = statement.estimate
    if statement.lead <= 0 or not estimate.error:
        return np.full(n.shape, float(statement.lead > 0))
    df = estimate.df * (n - 1) / (estimate.n - 1)
    critical = -stdtrit(df, level)
    shift = statement.lead / estimate.error * np.sqrt(n / estimate.n)
    return np.asarray(1 - nctdtr(df, shift, critical), np.float64)
