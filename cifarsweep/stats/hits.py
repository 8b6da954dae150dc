"""Which images runs get right: the noise of single images in an accuracy, and in a difference of two.

`Hits` are the runs of one cell on the same images in the same order: True where a run got an image right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifarsweep.stats.estimate import Estimate
from cifarsweep.stats.summary import Floats, Interval

#: The quantile at the upper end of a 95 % interval.
_UPPER = 0.975
#: (runs, images)
Hits = npt.NDArray[np.bool_]


def image_shares(hits: Hits) -> Floats:
    """Return p_i, the share of the runs that get image i right, (images,)."""
    return np.asarray(hits.mean(axis=0, dtype=np.float64))


def flip_variance(hits: Hits) -> float | None:
    """Return the variance of the accuracy of one run that single flips of images explain; None for one run.

    It is sum_i p_i (1 - p_i) / N^2 over the N images: the variance of a share whose images are right or wrong
    independently, image i with probability p_i. The sample variance over n runs, n / (n - 1) p_i (1 - p_i) of the
    observed shares, estimates each term without bias. 0 if all runs agree on each image.
    """
    runs = len(hits)
    if runs < 2:
        return None
    shares = image_shares(hits)
    return float((shares * (1 - shares)).sum()) * runs / ((runs - 1) * shares.size**2)


def image_variance(a: Sequence[Hits], b: Sequence[Hits]) -> float:
    """Return what the choice of the images adds to the variance of the difference of the mean accuracies of two sides.

    A side is one cell or several, which count alike; all have the same images. Runs and images are both a sample, as
    in the random model of a crossed design (Brennan 2001, Generalizability Theory, ch. 2). With d_i the difference of
    the sides' shares on image i, it is var(d_i) / N less what flips add to that, and at least 0. With one run a cell
    flips can't be told apart and stay in: it is the squared error of McNemar's test (1947, Psychometrika 12),
    (b + c - (b - c)^2 / N) / N^2 but for N - 1 in place of one N. More seeds do not shrink what images bring in.
    """
    means = [np.asarray(np.mean([image_shares(cell) for cell in side], axis=0), np.float64) for side in (a, b)]
    gaps = means[0] - means[1]
    flips = [(flip_variance(cell) or 0.0) / len(cell) / len(side) ** 2 for side in (a, b) for cell in side]
    return max(float(gaps.var(ddof=1)) / gaps.size - math.fsum(flips), 0.0)


@dataclass(frozen=True, slots=True)
class NewImages:
    """What is known of a difference for new images too, not only for new runs on the images that were judged."""

    interval: Interval
    """95 %; never narrower than that for new runs."""
    wider: bool
    """Whether it is wider; False with one run a cell, which tells nothing of new runs."""
    limit: float
    """Half of it with seeds without limit."""


def new_images(estimate: Estimate, a: Sequence[Hits], b: Sequence[Hits]) -> NewImages:
    """Return the interval of the difference of two sides for new runs and new images; for one run, new images alone.

    The variance of the choice of images is added to that of the estimate. Its degrees of freedom are without limit, so
    Satterthwaite's formula may take more from the interval than the images add: it is at least that for new runs.
    """
    from scipy.special import ndtri, stdtrit

    images, runs = image_variance(a, b), estimate.interval()
    limit = half = float(ndtri(_UPPER)) * math.sqrt(images)
    if runs is not None:
        seeds = estimate.error**2
        df = estimate.df * ((seeds + images) / seeds) ** 2 if seeds else math.inf
        half = max(float(stdtrit(df, _UPPER)) * math.sqrt(seeds + images), runs.half)
    interval = Interval(estimate.value - half, estimate.value + half).within(-1.0, 1.0)
    return NewImages(interval, runs is not None and half > runs.half, limit)
