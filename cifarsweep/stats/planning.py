"""What a study can decide before anything has run: the chance of a verdict at a given distance and spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cifarsweep.stats.estimate import FEWEST_SEEDS, Sample
from cifarsweep.stats.evidence import Evidence
from cifarsweep.stats.power import chance_at


def expected(mean: float, sd: float, seeds: int) -> Sample:
    """Return runs with exactly this mean and this standard deviation."""
    pattern = np.linspace(-1, 1, seeds)
    return Sample(tuple(mean + sd * pattern / pattern.std(ddof=1))) if seeds > 1 else Sample((mean,))


def chance_of_verdict(evidence: Evidence | None, level: float) -> float:
    """Return the chance that evidence on `expected` runs is decided, held against the level; 0 with too few seeds."""
    if evidence is None or evidence.fewest < FEWEST_SEEDS:
        return 0.0
    return chance_at(evidence, evidence.fewest, level)


def pooled_sd(cells: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """Return the standard deviation within cells and its degrees of freedom; None if no cell has two runs.

    The square is the mean of the variances of the cells, weighted by their degrees of freedom.
    """
    counted = [cell for cell in cells if len(cell) > 1]
    df = sum(len(cell) - 1 for cell in counted)
    if not df:
        return None
    return math.sqrt(sum(float(np.var(cell)) * len(cell) for cell in counted) / df), df
