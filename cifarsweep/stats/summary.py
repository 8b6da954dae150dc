"""Means over seeds with their intervals: summaries of final values, and bands of curves.

Intervals are Student's t intervals of the mean (https://en.wikipedia.org/wiki/Student%27s_t-distribution#Confidence_intervals):
mean +- t(0.975, n - 1) * sd / sqrt(n), with the sample standard deviation (n - 1 in the denominator).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONFIDENCE = 0.95
#: Of fewer values an interval says less than their range: Student's t of two is 12.7 times their standard error.
FEWEST_VALUES = 3
#: Relative to the largest value: the rounding error of a difference of equal numbers of 16 digits.
ROUNDING = 1e-12
#: Of larger and smaller numbers the fourth power, which degrees of freedom take, is no number of 64 bits any more.
LARGEST, SMALLEST = 1e60, 1e-60


@dataclass(frozen=True, slots=True)
class Interval:
    """The 95 % interval of a mean."""

    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the width, for +-."""
        return (self.high - self.low) / 2

    def within(self, least: float, most: float) -> Interval:
        """The part of it that lies between two bounds of what it is an interval of."""
        return Interval(min(max(self.low, least), most), max(min(self.high, most), least))


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of `n` values, one a seed."""

    n: int
    mean: float
    sd: float | None
    """Sample standard deviation; None for n = 1."""
    interval: Interval | None
    """None for n = 1, and if all are alike: such seeds do not show the spread."""
    min: float
    max: float

    def shown_interval(self, least: float, most: float) -> Interval | None:
        """Return the interval, where it says more than the range: of three values or more, and within these bounds.

        Student's t knows no bounds of the metric, and of few values that lie far apart it goes beyond them.
        """
        interval = self.interval
        if interval is None or self.n < FEWEST_VALUES or interval.low < least or interval.high > most:
            return None
        return interval


@dataclass(frozen=True, slots=True)
class Band:
    """Mean and interval of several curves along one axis; every array has the length of `grid`."""

    grid: Floats
    mean: Floats
    low: Floats
    """nan for n = 1; for n = 2 the lower of the two."""
    high: Floats
    """nan for n = 1; for n = 2 the higher of the two."""
    n: Ints
    """Number of curves with a value there, at least 1."""


def countable(values: npt.ArrayLike) -> Floats:
    """Return values as statistics count them: nan beyond `LARGEST`, as what is not finite, and 0 below `SMALLEST`."""
    data = np.asarray(values, np.float64)
    size = np.abs(data)
    return np.where(size > LARGEST, np.nan, np.where(size < SMALLEST, 0.0, data))


def summary(values: Sequence[float]) -> Summary:
    """Summarize one value per seed. Raises ValueError without values or for one that is not finite."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("no values to summarize")
    if not np.isfinite(data).all():
        raise ValueError("a value to summarize is not finite")
    n, mean = int(data.size), float(data.mean())
    sd = float(data.std(ddof=1)) if n > 1 else None
    spread = sd is not None and sd > ROUNDING * float(np.abs(data).max())
    interval = t_interval(mean, sd / math.sqrt(n), n - 1) if sd is not None and spread else None
    return Summary(n, mean, sd, interval, float(data.min()), float(data.max()))


def t_interval(value: float, error: float, df: float) -> Interval:
    """Return the 95 % interval of a value with a standard error of `df` degrees of freedom."""
    # Imported late, and instead of scipy.stats, which takes over a second: every command imports this module.
    from scipy.special import stdtrit

    half = float(stdtrit(df, (1 + CONFIDENCE) / 2)) * error
    return Interval(value - half, value + half)


def prediction(found: Summary, runs: int = 1) -> Interval | None:
    """Return the 95 % interval for the mean of `runs` further values of the same kind.

    mean +- t(0.975, n - 1) * sd * sqrt(1 / n + 1 / runs), for normal values
    (https://en.wikipedia.org/wiki/Prediction_interval#Unknown_mean,_unknown_variance). None where the summary has no
    interval.
    """
    if found.interval is None or found.sd is None:
        return None
    return t_interval(found.mean, found.sd * math.sqrt(1 / found.n + 1 / runs), found.n - 1)


def band(series: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]) -> Band:
    """Return mean and 95 % interval at every x of any curve; of two curves their range in its place.

    `series` are pairs (x, y) of equal length, x strictly rising. A curve counts inside its own range, where it is
    interpolated linearly; values that are not finite stay gaps. Points that no curve covers are left out.
    """
    curves = [(np.asarray(x, np.float64), _gaps(y)) for x, y in series]
    curves = [(x, y) for x, y in curves if x.size]
    if not curves:
        none = np.empty(0)
        return Band(none, none, none, none, none.astype(np.int64))
    grid, values = _aligned(curves)
    known = np.isfinite(values)
    n = known.sum(axis=0)
    covered = n > 0
    grid, values, known, n = grid[covered], values[:, covered], known[:, covered], n[covered]
    mean = np.where(known, values, 0.0).sum(axis=0) / n
    squares = np.where(known, values - mean, 0.0) ** 2
    sure, two = n >= FEWEST_VALUES, n == 2
    half = np.full(grid.shape, np.nan)
    half[sure] = _critical(n[sure]) * np.sqrt(squares.sum(axis=0)[sure] / (n[sure] - 1) / n[sure])
    # Each of two values is as far from their mean.
    half[two] = np.sqrt(squares.sum(axis=0)[two] / 2)
    return Band(grid, mean, mean - half, mean + half, n.astype(np.int64))


def _gaps(y: npt.ArrayLike) -> Floats:
    values = np.asarray(y, np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _aligned(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return all curves on one grid, as rows. Curves with equal x need no interpolation."""
    first = curves[0][0]
    if all(np.array_equal(x, first) for x, _ in curves[1:]):
        return first, np.stack([y for _, y in curves])
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    return grid, np.stack([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in curves])


def _critical(n: npt.NDArray[np.integer]) -> Floats:
    """Return the factor t(0.975, n - 1) for each count."""
    from scipy.special import stdtrit

    counts, where = np.unique(n, return_inverse=True)
    return np.asarray(stdtrit(counts - 1, (1 + CONFIDENCE) / 2), np.float64)[where]
