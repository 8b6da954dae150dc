"""Estimates of means of cells and of their differences, with their t tests; the runs of cells are independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cifarsweep.stats.summary import CONFIDENCE, FEWEST_VALUES, ROUNDING, SMALLEST, Floats, Interval

Method = Literal["one-sample", "Welch", "contrast"]
#: Verdicts need at least this many seeds in each cell: two may agree by chance.
FEWEST_SEEDS = FEWEST_VALUES
#: Relative distance of neighbouring numbers of 32 bits, in which metrics are computed.
SINGLE = 2.0**-23


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of the runs of one cell, one a seed."""

    values: tuple[float, ...]
    floor: float = 0.0
    """The variance that the measurement alone gives; the sample variance counts as at least this."""


#: The cells of one side of a comparison; its value is the mean of their means.
Cells = Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Part:
    """One cell of an estimate."""

    weight: float
    spread: float
    """The variance of its runs, at least what the measurement alone gives."""
    n: int

    @property
    def variance(self) -> float:
        """What it adds to the variance of the estimate."""
        return self.weight**2 * self.spread / self.n


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, a difference of means or another contrast of them, with its standard error."""

    value: float
    error: float
    """Standard error; infinite if a cell has one seed."""
    df: float
    """Degrees of freedom."""
    n: int
    """Seeds of the cell with the fewest."""
    method: Method
    effect: float | None = None
    """Of a difference, in standard deviations: the mean of the variances of all cells, corrected for few seeds (Hedges
    1981, eq. 6e)."""
    rounding: float = 0.0
    """Distances below this count as 0."""
    floored: bool = False
    """Whether the floor of a cell took the place of its variance."""
    parts: tuple[Part, ...] = ()
    """Of its cells, in the order given; empty if a cell has one seed."""

    def above(self, threshold: float, sign: int = 1) -> float:
        """Return the one-sided p of the test that the true value lies above the threshold; below for `sign` = -1."""
        from scipy.special import stdtr

        distance = sign * self.distance(threshold)
        if self.error == 0:
            # All values are 0, where numbers have no distance.
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(self.df, -distance / self.error))

    def distance(self, threshold: float) -> float:
        """Return the distance of the value above the threshold."""
        distance = self.value - threshold
        return distance if abs(distance) > self.rounding else 0.0

    def interval(self, below: float = (1 - CONFIDENCE) / 2, above: float = (1 - CONFIDENCE) / 2) -> Interval | None:
        """Return the interval of the true value, which lies below and above it with these chances; None for one seed.

        By default that is the 95 % interval, not corrected for anything.
        """
        from scipy.special import stdtrit

        if self.error == math.inf:
            return None
        low, high = (float(stdtrit(self.df, 1 - chance)) * self.error for chance in (below, above))
        return Interval(self.value - low, self.value + high)


def satterthwaite(parts: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the standard error of a sum of independent means, and its degrees of freedom, along the last axis.

    `parts` are the variances of its terms, w^2 s^2 / n for a weight w and a cell of n seeds with the variance s^2. Each
    has n - 1 degrees of freedom, and their sum about sum(parts)^2 / sum(parts^2 / (n - 1)) (Satterthwaite 1946,
    Biometrics Bulletin 2, eq. 17). Of two cells this is the test of Welch (1947, Biometrika 34).
    """
    each = np.asarray(parts, np.float64)
    total = each.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = total**2 / (each**2 / (np.asarray(n) - 1)).sum(axis=-1)
    return np.sqrt(total), df


def contrast(terms: Sequence[tuple[float, Sample]], method: Method = "contrast") -> Estimate | None:
    """Estimate a weighted sum of the means of cells, given as pairs of weight and sample; None if a cell is empty."""
    samples = [sample for _, sample in terms]
    n = np.array([len(sample.values) for sample in samples])
    if not n.size or not n.min():
        return None
    weights = np.array([weight for weight, _ in terms])
    value = float(weights @ [np.mean(sample.values) for sample in samples])
    scale = max(abs(one) for sample in samples for one in sample.values)
    rounding = max(ROUNDING * scale, SMALLEST)
    if n.min() == 1:
        return Estimate(value, math.inf, 1.0, 1, method, rounding=rounding)
    found = np.array([np.var(sample.values, ddof=1) for sample in samples])
    variances = np.maximum(found, [max(sample.floor, (SINGLE * scale) ** 2 / 12) for sample in samples])
    each = zip(weights.tolist(), variances.tolist(), n.tolist(), strict=True)
    parts = tuple(Part(weight, spread, count) for weight, spread, count in each)
    error, df = satterthwaite([part.variance for part in parts], n)
    known = float(df) if error else float(n.sum() - n.size)
    effect = value / math.sqrt(variances.mean()) * (1 - 3 / (4 * (n.sum() - n.size) - 1)) if error else None
    floored = bool((variances > found).any())
    return Estimate(value, float(error), known, int(n.min()), method, effect, rounding, floored, parts)


def mean(cells: Cells) -> Estimate | None:
    """Estimate the mean of the means of cells; None if one is empty. A mean has no effect."""
    found = contrast([(1 / len(cells), cell) for cell in cells], "one-sample")
    return replace(found, effect=None) if found else None


def difference(a: Cells, b: Cells) -> Estimate | None:
    """Estimate the mean of a minus the mean of b by Welch's test; None if a cell is empty.

    Seeds are not paired: those of different networks hardly correlate, and pairs have half the degrees of freedom.
    """
    terms = [(1 / len(a), cell) for cell in a] + [(-1 / len(b), cell) for cell in b]
    return contrast(terms, "Welch" if len(terms) == 2 else "contrast")
