"""How often a verdict is false in truth, where cells of few seeds are noisier than others.

Welch's test takes the degrees of freedom that Satterthwaite finds from measured spreads. Where a cell of few seeds
makes up most of the standard error these come out too high whenever its seeds happen to lie close together, and the
test is wrong more often than its level says. How often can be computed, if the spreads are known.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from cifarsweep.stats.estimate import FEWEST_SEEDS, Part, satterthwaite
from cifarsweep.stats.evidence import Evidence, Statement
from cifarsweep.stats.factorial import OwnSpreads, left_over, places
from cifarsweep.stats.summary import Floats

#: Readers are told where false verdicts are more frequent than promised by more than this factor: 6 % in place of 5 %.
MOST_TIMES = 1.2
#: Numbers that are drawn for all cells of a test together; the rate is then sure to about 0.1 of 5 %.
_DRAWS = 60_000
#: The same for the places of a table, where the numbers that a test rejects are counted: sure to about 0.2 of 5 %.
_TABLES = 120_000
#: With more seeds in every cell no rate is material.
_ENOUGH = 30


def error_rate(evidence: Evidence, level: float) -> float:
    """Return the chance of a false verdict of a test at this level, if the spreads of its cells are as measured.

    At the edge of what the hypothesis says, where it is highest. It is `level` or less where Welch's test keeps it.
    """
    if evidence.fewest < FEWEST_SEEDS:
        return 0.0
    share = level / evidence.sides
    support = max(_rate(one.estimate.parts, share) for one in evidence.statements)
    against = [_rate(one.estimate.parts, share / evidence.ways) for one in evidence.statements]
    refute = sum(against) if evidence.ways > 1 else max(against)
    return support + refute if evidence.sides == 2 else max(support, refute)


def worst_part(evidence: Evidence) -> tuple[int, int]:
    """Return the statement and the place of the cell that its degrees of freedom depend on most."""
    places = [
        (part.variance**2 / (part.n - 1) / sum(one.variance for one in statement.estimate.parts) ** 2, number, place)
        for number, statement in enumerate(evidence.statements)
        for place, part in enumerate(statement.estimate.parts)
        if part.n > 1 and part.variance
    ]
    _, number, place = max(places, default=(0.0, 0, 0))
    return number, place


def seeds_added(evidence: Evidence, level: float) -> int | None:
    """Return how many more seeds of each cell bring the chance of a false verdict below what is told; None of many."""
    limit = level * MOST_TIMES
    return next((more for more in range(1, _ENOUGH) if error_rate(_with_more(evidence, more), level) <= limit), None)


def _with_more(evidence: Evidence, more: int) -> Evidence:
    def grown(one: Statement) -> Statement:
        parts = tuple(replace(part, n=part.n + more) for part in one.estimate.parts)
        return replace(one, estimate=replace(one.estimate, n=one.estimate.n + more, parts=parts))

    return replace(evidence, statements=tuple(map(grown, evidence.statements)))


def interaction_error_rate(own: OwnSpreads, level: float) -> float:
    """Return the chance that `unlike_interaction` finds at this level what is not there, if spreads are as measured."""
    from scipy.special import fdtrc

    design, _, there = places(own.variances)
    left, variances, df = left_over(design), own.variances[there], own.df[there]
    drawn = np.random.default_rng(0)
    draws = max(_TABLES // len(design), 2_000)
    means = drawn.normal(0, 1, (draws, len(design))) * np.sqrt(variances)
    measured = drawn.chisquare(df, means.shape) / df * variances
    parts = np.diag(left) * measured
    chance = parts.sum(axis=1)
    f = ((means @ left) * means).sum(axis=1) / chance
    effect = chance**2 / ((measured @ left**2) * measured).sum(axis=1)
    error = chance**2 / (parts**2 / df).sum(axis=1)
    return float((fdtrc(effect, error, f) <= level).mean())


@lru_cache(maxsize=4096)
def _rate(parts: tuple[Part, ...], level: float) -> float:
    """Return the chance that a one-sided test is wrong: over measured variances, of which the mean is independent."""
    from scipy.special import ndtr, stdtrit

    parts = tuple(part for part in parts if part.variance)
    variances, n = np.array([part.variance for part in parts]), np.array([part.n for part in parts])
    if len(parts) < 2 or n.min() > _ENOUGH:
        # Student's t of one mean is exact. The middle level of a trend has no weight.
        return level
    df = n - 1.0
    drawn = _chi_squared(tuple(df), max(_DRAWS // len(parts), 2_000)) / df * (variances / variances.sum())
    error, found = satterthwaite(drawn, n)
    # The critical value is a smooth curve of 1 / df: some hundred points of it are enough.
    at = np.linspace(1 / df.sum(), 1 / df.min(), 300)
    critical = np.interp(1 / found, at, -stdtrit(1 / at, level))
    return float(ndtr(-critical * error).mean())


@lru_cache(maxsize=64)
def _chi_squared(df: tuple[float, ...], draws: int) -> Floats:
    """The same numbers each time, so that a page is the same each time."""
    return np.random.default_rng(0).chisquare(df, (draws, len(df)))
