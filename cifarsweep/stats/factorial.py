"""Effects of crossed factors on the means of cells, against one spread of seeds within all cells.

Means of levels are means of means of cells, each cell counting alike however many seeds it has (Searle, Speed and
Milliken 1980, The American Statistician 34: population marginal means). Runs are taken as independent and normal, with
the same spread in every cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cifarsweep.stats.estimate import SINGLE
from cifarsweep.stats.planning import pooled_sd
from cifarsweep.stats.summary import CONFIDENCE, ROUNDING, Floats, Interval


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard deviation of the runs of a cell, pooled over cells."""

    sd: float
    df: int
    """Its degrees of freedom: the sum over cells of their seeds less one."""
    floored: bool = False
    """Whether seeds lie closer together than the measurement can tell, so that its own noise counts as their spread."""

    def interval(self, value: float, variance: float, chance: float = 1 - CONFIDENCE) -> Interval:
        """Return the t interval of a sum of means that misses its true value with this chance.

        `variance` is that of the sum in units of the variance of one run: 1 / n for the mean of n runs.
        """
        from scipy.special import stdtrit

        half = float(stdtrit(self.df, 1 - chance / 2)) * self.sd * math.sqrt(variance)
        return Interval(value - half, value + half)


@dataclass(frozen=True, slots=True)
class FTest:
    """The F test that an effect is no larger than the spread within cells explains."""

    f: float
    df: int
    """Degrees of freedom of the effect; those of the error are of the spread."""
    p: float


def pooled_spread(cells: Sequence[Sequence[float]], floors: Sequence[float]) -> Spread | None:
    """Return the spread within cells, given the values of each and the variance that its measurement alone gives.

    None if no cell has two runs, or if the runs of every cell are alike: such runs do not show the spread.
    """
    found = pooled_sd(cells)
    scale = max((abs(value) for cell in cells for value in cell), default=0.0)
    if found is None or found[0] <= ROUNDING * scale:
        return None
    sd, df = found
    weighted = ((len(cell) - 1) * floor for cell, floor in zip(cells, floors, strict=True) if len(cell) > 1)
    floor = max(math.fsum(weighted) / df, (SINGLE * scale) ** 2 / 12)
    return Spread(max(sd, math.sqrt(floor)), df, floored=sd < math.sqrt(floor))


def mean_variance(seeds: Sequence[int]) -> float:
    """Return the variance of the mean of the means of cells with so many seeds, in units of that of one run."""
    return math.fsum(1 / n for n in seeds) / len(seeds) ** 2


def interaction(means: Floats, variances: Floats, spread: Spread) -> FTest | None:
    """Test that rows and columns of a table add up, by their means and the variances of these (see `mean_variance`).

    Both are (rows, columns), nan where there is no mean. The sum of squares is what the best fit of rows plus columns
    leaves, weighted by 1 / variance; over its degrees of freedom and the pooled variance it has an F distribution
    (Scheffe 1959, The Analysis of Variance, sections 2.5 and 4.4). Where all cells have equally many seeds, that is
    the test of the interaction in an analysis of variance; elsewhere that of its type III. None if the places that
    are there can't contradict a sum.
    """
    from scipy.special import fdtrc

    row, column = np.nonzero(np.isfinite(means))
    if not row.size:
        return None
    weights = 1 / np.sqrt(variances[row, column])
    design = np.column_stack([np.eye(means.shape[0])[row], np.eye(means.shape[1])[column]])
    # Without the common level, which the fit has anyway, no digits are lost to it.
    values = means[row, column] - means[row, column].mean()
    fit, _, rank, _ = np.linalg.lstsq(design * weights[:, None], values * weights)
    df = int(row.size - rank)
    if not df:
        return None
    left = float((((values - design @ fit) * weights) ** 2).sum())
    f = left / df / spread.sd**2
    return FTest(f, df, float(fdtrc(df, spread.df, f)))


def largest_change(means: Floats) -> tuple[float, tuple[int, int], tuple[int, int]] | None:
    """Return the largest change of a difference between two rows from one column to another, and these places.

    `means` is (rows, columns), nan where there is none. The rows come so that the difference first minus second is
    the larger one in the first column. None if no two rows share two columns.
    """
    gaps = means[:, None, :] - means[None, :, :]
    changes = gaps[:, :, :, None] - gaps[:, :, None, :]
    if not np.isfinite(changes).any() or means.shape[0] < 2 or means.shape[1] < 2:
        return None
    changes[np.arange(len(means)), np.arange(len(means))] = np.nan
    changes[:, :, np.arange(means.shape[1]), np.arange(means.shape[1])] = np.nan
    if not np.isfinite(changes).any():
        return None
    high, low, one, other = (int(at) for at in np.unravel_index(np.nanargmax(changes), changes.shape))
    return float(changes[high, low, one, other]), (high, low), (one, other)
