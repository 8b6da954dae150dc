"""The worlds of verdicts.py: how the runs of a study deviate from the means of their cells, in points of accuracy.

Each gives (studies, hypotheses, cells, seeds); nan for a run that fell out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
#: The usual spread over seeds.
SD = 0.3


def normal(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    return rng.normal(0, SD, shape)


def unlike_spreads(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """Log-normal spreads of cells: one in three is half as wide or twice as wide."""
    return normal(rng, shape) * rng.lognormal(0, 0.7, (*shape[:-1], 1))


def skewed(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """A long tail below (exponential)."""
    return SD * (1 - rng.exponential(1, shape))


def one_noisy(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """One cell of the study has five times the spread."""
    wide = np.ones((*shape[1:3], 1))
    wide[0, 0] = 5
    return normal(rng, shape) * wide


def many_noisy(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """One cell of each hypothesis has five times the spread: harder than what is promised."""
    wide = np.ones((shape[2], 1))
    wide[0] = 5
    return normal(rng, shape) * wide


def one_in_ten_falls_out(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    return np.where(rng.random(shape) < 0.1, np.nan, normal(rng, shape))


def coarse(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """A share of 400 images, in steps of 0.25 points."""
    return stepped(rng, shape, 0.25, SD)


def nearly_alike(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """The same steps with a quarter of a step as spread: most seeds are alike."""
    return stepped(rng, shape, 0.25, 0.25 / 4)


def stepped(rng: np.random.Generator, shape: Sequence[int], step: float, sd: float) -> Floats:
    """Normal values around a place between two steps, rounded, less the mean of what is rounded."""
    start = rng.uniform(0, step, (shape[0], 1, 1, 1))
    edges = step * (np.arange(-9, 10) + 0.5)
    mean = step * (10 - ndtr((edges - start) / sd).sum(axis=-1, keepdims=True))
    return np.asarray(step * np.round((start + rng.normal(0, sd, shape)) / step) - mean)


def correlated(rng: np.random.Generator, shape: Sequence[int]) -> Floats:
    """Half of the variance is common to all cells of a seed."""
    return np.sqrt(0.5) * (normal(rng, shape) + normal(rng, (shape[0], 1, 1, shape[-1])))


WORLDS = (normal, unlike_spreads, skewed, one_noisy, many_noisy, one_in_ten_falls_out, coarse, nearly_alike, correlated)
STEPS = {coarse: 0.25, nearly_alike: 0.25}
