"""Which images runs get right: the noise of single images in an accuracy, and in a difference of two.

`Hits` are the runs of one cell on the same images in the same order: True where a run got an image right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cifarsweep.stats.summary import Floats

#: The quantile at the upper end of a 95 % interval.
_UPPER = 0.975
#: A variance of accuracies below this is rounding: one image in a billion is 1e-18.
_ROUNDING = 1e-24
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


def difference_error(a: Sequence[Hits], b: Sequence[Hits]) -> float:
    """Return the standard error of the difference of the mean accuracies of two sides, for new runs and new images.

    A side is one cell or several, which count alike; all have the same images. Runs and images are both a sample, as
    in the random model of a crossed design (Brennan 2001, Generalizability Theory, ch. 2). With d_i the difference of
    the sides' shares on image i, its square is var(d_i) / N, which holds images and flips, plus what the runs of cells
    vary beyond flips, (s^2 - flip_variance) / n; that part counts where it is above 0, so that the error is rather
    too large than too small. With one run a side it is the error of McNemar's test (1947, Psychometrika 12),
    (b + c - (b - c)^2 / N) / N^2 but for N - 1 in place of one N. More seeds do not shrink what images bring in.
    """
    gaps = np.mean([image_shares(cell) for cell in a], axis=0) - np.mean([image_shares(cell) for cell in b], axis=0)
    from_images = float(gaps.var(ddof=1)) / gaps.size
    from_runs = sum(sum(map(_run_variance, side)) / len(side) ** 2 for side in (a, b))
    return math.sqrt(from_images + max(from_runs, 0.0))


def interval_halves(a: Hits, b: Hits) -> tuple[float, float | None]:
    """Return half of the 95 % interval of the difference of two cells for new runs and images, and for new runs alone.

    The second one is Welch's; None with one run a cell. The first one has Satterthwaite's degrees of freedom (1946,
    Biometrics Bulletin 2), those of the images being without limit; it is never the narrower one in standard errors.
    """
    from scipy.special import ndtri, stdtrit

    error = difference_error([a], [b])
    if min(len(a), len(b)) < 2:
        return float(ndtri(_UPPER)) * error, None
    parts = [float(hits.mean(axis=1, dtype=np.float64).var(ddof=1)) / len(hits) for hits in (a, b)]
    seeds, total = sum(parts), max(error**2, sum(parts))
    if seeds < _ROUNDING:
        return float(ndtri(_UPPER)) * error, None
    of_seeds = sum(part**2 / (len(hits) - 1) for part, hits in zip(parts, (a, b), strict=True))
    wide, narrow = (float(stdtrit(each**2 / of_seeds, _UPPER)) * math.sqrt(each) for each in (total, seeds))
    return wide, narrow


def _run_variance(hits: Hits) -> float:
    """What flips do not explain of the variance of a cell's mean accuracy; below 0 by chance."""
    flips = flip_variance(hits)
    spread = 0.0 if flips is None else float(hits.mean(axis=1, dtype=np.float64).var(ddof=1)) - flips
    return spread / len(hits)
