"""Effects of crossed factors on the means of cells, against one spread of seeds within all cells.

Means of levels are means of means of cells, each cell counting alike however many seeds it has (Searle, Speed and
Milliken 1980, The American Statistician 34: population marginal means). Runs are taken as independent and normal; where
cells do not look as if they had one spread, each counts with its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cifarsweep.stats.estimate import SINGLE
from cifarsweep.stats.planning import pooled_sd
from cifarsweep.stats.summary import CONFIDENCE, ROUNDING, Floats, Interval

#: Cells whose spreads would be as unlike by chance in fewer than a fifth of all studies count each with its own. A low
#: threshold would miss most unlike ones of three seeds; a needless own spread costs some power, and no error.
UNLIKE = 0.2


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard deviation of the runs of a cell, pooled over cells."""

    sd: float
    df: int
    """Its degrees of freedom: the sum over cells of their seeds less one."""
    floored: bool = False
    """Whether seeds lie closer together than the measurement can tell, so that its own noise counts as their spread."""
    alike: float | None = None
    """p of the test of Bartlett that all cells have one spread; None if a single cell has two runs."""

    @property
    def unlike(self) -> bool:
        """Whether each cell counts with a spread of its own."""
        return self.alike is not None and self.alike < UNLIKE

    def interval(self, value: float, variance: float, chance: float = 1 - CONFIDENCE) -> Interval:
        """Return the t interval of a sum of means that misses its true value with this chance.

        `variance` is that of the sum in units of the variance of one run: 1 / n for the mean of n runs.
        """
        return interval(value, self.sd * math.sqrt(variance), self.df, chance)


def interval(value: float, error: float, df: float, chance: float = 1 - CONFIDENCE) -> Interval:
    """Return the t interval of a value with this standard error, which misses its true value with this chance."""
    from scipy.special import stdtrit

    half = float(stdtrit(df, 1 - chance / 2)) * error
    return Interval(value - half, value + half)


@dataclass(frozen=True, slots=True, eq=False)
class OwnSpreads:
    """The places of a table that was tested with a variance of each; all arrays are (rows, columns), nan elsewhere."""

    variances: Floats
    df: Floats


@dataclass(frozen=True, slots=True)
class FTest:
    """The F test that an effect is no larger than the spread within cells explains."""

    f: float
    df: float
    """Degrees of freedom of the effect."""
    error_df: float
    p: float
    own: OwnSpreads | None = None
    """None where all cells have one spread."""


def pooled_spread(cells: Sequence[Sequence[float]], floors: Sequence[float]) -> Spread | None:
    """Return the spread within cells, given the values of each and the variance that its measurement alone gives.

    None if no cell has two runs, or if the runs of every cell are alike: such runs do not show the spread.
    """
    found = pooled_sd(cells)
    scale = max((abs(value) for cell in cells for value in cell), default=0.0)
    if found is None or found[0] <= ROUNDING * scale:
        return None
    sd, df = found
    counted = [(cell, floor) for cell, floor in zip(cells, floors, strict=True) if len(cell) > 1]
    floor = max(math.fsum((len(cell) - 1) * floor for cell, floor in counted) / df, (SINGLE * scale) ** 2 / 12)
    variances = [variance_of(cell, floor, scale) for cell, floor in counted]
    alike = bartlett(variances, [len(cell) - 1 for cell, _ in counted])
    return Spread(max(sd, math.sqrt(floor)), df, floored=sd < math.sqrt(floor), alike=alike)


def variance_of(cell: Sequence[float], floor: float, scale: float) -> float:
    """Return the variance of two runs or more, at least that which numbers of 32 bits and this size tell apart."""
    return max(float(np.var(cell, ddof=1)), floor, (SINGLE * scale) ** 2 / 12)


def bartlett(variances: Sequence[float], df: Sequence[int]) -> float | None:
    """Return the p of equal spreads, given positive variances and their degrees of freedom; None of a single one.

    Bartlett 1937, Proceedings of the Royal Society A 160. Runs that are not normal make it find more spreads unlike.
    Levene's test and that of Brown and Forsythe can't be taken of two seeds, and the latter finds nothing in three.
    """
    from scipy.special import chdtrc

    if len(variances) < 2:
        return None
    s2, n = np.asarray(variances), np.asarray(df)
    total = n.sum()
    statistic = total * math.log(float(n @ s2) / total) - float(n @ np.log(s2))
    correction = 1 + float((1 / n).sum() - 1 / total) / (3 * (len(n) - 1))
    return float(chdtrc(len(n) - 1, max(statistic / correction, 0.0)))


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

    design, values, there = places(means)
    if not values.size:
        return None
    weights = 1 / np.sqrt(variances[there])
    fit, _, rank, _ = np.linalg.lstsq(design * weights[:, None], values * weights)
    df = int(values.size - rank)
    if not df:
        return None
    left = float((((values - design @ fit) * weights) ** 2).sum())
    f = left / df / spread.sd**2
    return FTest(f, df, spread.df, float(fdtrc(df, spread.df, f)))


def unlike_interaction(means: Floats, variances: Floats, df: Floats) -> FTest | None:
    """Test the same by the variance of each mean and its degrees of freedom, where cells have spreads of their own.

    All are (rows, columns). The ANOVA-type statistic of Brunner, Dette and Munk (1997, Journal of the American
    Statistical Association 92, eq. 2.4 and 2.7): what the unweighted fit leaves, by what it would leave by chance, with
    an F distribution whose degrees of freedom give its first two moments.
    """
    from scipy.special import fdtrc

    design, values, there = places(means)
    if not values.size or values.size == np.linalg.matrix_rank(design):
        return None
    left = left_over(design)
    parts = np.diag(left) * variances[there]
    chance = parts.sum()
    f = float(values @ left @ values / chance)
    own = float(chance**2 / np.trace(np.linalg.matrix_power(left * variances[there], 2)))
    error = float(chance**2 / (parts**2 / df[there]).sum())
    return FTest(f, own, error, float(fdtrc(own, error, f)), OwnSpreads(variances, df))


def left_over(design: Floats) -> Floats:
    """Return the projection on what the unweighted fit leaves."""
    return np.asarray(np.eye(len(design)) - design @ np.linalg.pinv(design))


def places(means: Floats) -> tuple[Floats, Floats, tuple[np.ndarray, np.ndarray]]:
    """Return the design of rows plus columns at the places that are there, their centred means, and the places."""
    row, column = np.nonzero(np.isfinite(means))
    design = np.column_stack([np.eye(means.shape[0])[row], np.eye(means.shape[1])[column]])
    # Without the common level, which the fit has anyway, no digits are lost to it.
    values = means[row, column] - means[row, column].mean() if row.size else np.empty(0)
    return design, values, (row, column)


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
