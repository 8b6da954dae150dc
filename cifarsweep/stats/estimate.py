"""Estimates of a mean over seeds or of a difference of means, and their t tests."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cifarsweep.stats.summary import ROUNDING, Floats, Interval, t_interval

Method = Literal["one-sample", "paired", "Welch"]
#: Verdicts need at least this many seeds: two may agree by chance, as if they had no spread.
FEWEST_SEEDS = 3
#: One value per seed.
BySeed = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, or a difference of means, with its standard error."""

    value: float
    error: float
    """Standard error; 0 if all seeds agree, infinite for one seed."""
    df: float
    """Degrees of freedom."""
    n: int
    """Seeds, or pairs of them; for Welch's test those of the smaller side."""
    method: Method
    effect: float | None
    """In standard deviations, corrected for few seeds (Hedges 1981): Cohen's d_z of pairs, d with the mean of both
    variances for Welch's test. None for a mean, and without spread."""
    rounding: float
    """Distances below this count as 0."""

    @property
    def alike(self) -> bool:
        """Whether there is no spread, so that a t test is impossible."""
        return self.error == 0

    def above(self, threshold: float, sign: int = 1) -> float:
        """Return the one-sided p of the test that the true value lies above the threshold; below for `sign` = -1.

        Seeds without any spread are tested by their signs: that all n lie on one side of the threshold has a chance of
        at most 0.5 to the n if the median does not.
        """
        from scipy.special import stdtr

        distance = sign * self.distance(threshold)
        if self.alike:
            return 0.5**self.n if distance > 0 else 1.0
        return float(stdtr(self.df, -distance / self.error))

    def distance(self, threshold: float) -> float:
        """Return the distance of the value above the threshold."""
        distance = self.value - threshold
        return distance if abs(distance) > self.rounding else 0.0

    def interval(self) -> Interval | None:
        """Return the 95 % interval of the true value, not corrected for anything.

        None for one seed, and if all are alike: such seeds do not show their spread.
        """
        return t_interval(self.value, self.error, self.df) if 0 < self.error < math.inf else None


def mean(values: Sequence[float]) -> Estimate | None:
    """Estimate the mean of one value per seed; None without seeds."""
    data = np.asarray(values, np.float64)
    return _of_one(data, "one-sample", _scale(data)) if data.size else None


def difference(a: BySeed, b: BySeed) -> Estimate | None:
    """Estimate mean of a minus mean of b, paired by shared seeds; by Welch's test if they share none or too few.

    Pairs remove the effect of a seed on both sides, such as an unlucky order of images. None if a side is empty, or if
    they share no seed and one of them has a single one.
    """
    shared = sorted(paired_seeds(a, b))
    left, right = (np.array([side[seed] for seed in shared or side], np.float64) for side in (a, b))
    scale = _scale(np.concatenate([left, right]))
    if shared:
        return _of_one(left - right, "paired", scale)
    return _welch(left, right, scale) if min(left.size, right.size) > 1 else None


def paired_seeds(a: Collection[int], b: Collection[int]) -> set[int]:
    """Return the shared seeds; none if these are too few for a verdict while both sides alone have enough."""
    shared = set(a) & set(b)
    return shared if len(shared) >= FEWEST_SEEDS or min(len(a), len(b)) < FEWEST_SEEDS else set()


def _of_one(data: Floats, method: Method, rounding: float) -> Estimate:
    n, value = int(data.size), float(data.mean())
    sd = float(data.std(ddof=1)) if n > 1 else math.inf
    sd = 0.0 if sd <= rounding else sd
    effect = value / sd * _small_sample_factor(n - 1) if sd and n > 1 and method == "paired" else None
    return Estimate(value, sd / math.sqrt(n), max(n - 1, 1), n, method, effect, rounding)


def _welch(left: Floats, right: Floats, rounding: float) -> Estimate:
    """Estimate by https://en.wikipedia.org/wiki/Welch%27s_t-test, with the degrees of freedom of Satterthwaite."""
    value, n = float(left.mean() - right.mean()), min(left.size, right.size)
    variances = np.array([side.var(ddof=1) if np.ptp(side) > rounding else 0.0 for side in (left, right)])
    parts = variances / (left.size, right.size)
    total = float(parts.sum())
    if total == 0:
        return Estimate(value, 0.0, left.size + right.size - 2, n, "Welch", None, rounding)
    df = total**2 / float((parts**2 / (left.size - 1, right.size - 1)).sum())
    effect = value / math.sqrt(variances.mean()) * _small_sample_factor(left.size + right.size - 2)
    return Estimate(value, math.sqrt(total), df, n, "Welch", effect, rounding)


def _small_sample_factor(df: int) -> float:
    """Return the correction of an effect for few seeds (Hedges 1981, eq. 6e)."""
    return 1 - 3 / (4 * df - 1)


def _scale(values: Floats) -> float:
    return ROUNDING * float(np.abs(values).max(initial=0.0))
