"""The number of seeds for a verdict, if the estimate is the true value."""

from __future__ import annotations

import math

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

    `level` is one-sided. The spread is the observed one, so the answer is rough for few seeds.
    """
    if evidence.fewest < 2:
        return FEWEST_SEEDS
    if not evidence.statements:
        return _by_signs(evidence, level)
    n = np.arange(FEWEST_SEEDS, MOST_SEEDS + 1)
    enough = _chance(evidence, n, level) >= POWER
    return int(n[enough][0]) if enough.any() else None


def _chance(evidence: Evidence, n: npt.NDArray[np.integer], level: float) -> Floats:
    """Return the chance of a verdict in the direction of the estimate."""
    if all(statement.lead > 0 for statement in evidence.statements):
        # A lower bound (Bonferroni), exact for the two sides of one estimate.
        return 1 - sum((1 - power(statement, n, level) for statement in evidence.statements), np.zeros(n.shape))
    failing = [Statement(s.estimate, s.threshold, -s.sign) for s in evidence.statements if s.lead < 0]
    chances = [power(statement, n, level / evidence.ways) for statement in failing]
    return np.max(chances, axis=0) if chances else np.zeros(n.shape)


def power(statement: Statement, n: npt.NDArray[np.integer], level: float) -> Floats:
    """Return the chance to show the statement at each number of seeds, if estimate and spread are true.

    By the noncentral t distribution (Cohen 1988); for Welch's test the degrees of freedom grow with the seeds. If all
    seeds are alike, a sign test shows it for sure as soon as there are enough.
    """
    from scipy.special import nctdtr, stdtrit

    estimate = statement.estimate
    if statement.lead <= 0:
        return np.zeros(n.shape)
    if estimate.alike:
        return np.asarray(0.5**n <= level, np.float64)
    df = estimate.df * (n - 1) / (estimate.n - 1)
    critical = -stdtrit(df, level)
    shift = statement.lead / estimate.error * np.sqrt(n / estimate.n)
    return np.asarray(1 - nctdtr(df, shift, critical), np.float64)


def _by_signs(evidence: Evidence, level: float) -> int | None:
    """Return the number of pairs of the same order for a sign test; None if the pairs so far differ in order."""
    decisive = min(evidence.support, evidence.refute) <= 0.5**evidence.estimate.n
    return math.ceil(-math.log2(level)) if decisive else None
