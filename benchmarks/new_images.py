"""How often a verdict's interval of a difference, and that for new images too, hold the truth for new images.

The logit of an image being right is normal over images. The second net is behind by a shift that varies over images,
and each run by one of its own; an image is then right by chance. The truth is the difference over all images and runs.

    python benchmarks/new_images.py [--studies 4000]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cifarsweep.stats.estimate import Sample, difference
from cifarsweep.stats.hits import flip_variance, new_images

Floats = npt.NDArray[np.float64]
IMAGES, SEEDS = (500, 10_000), (3, 5, 10)
#: Of the logits of images, and of what the second net is behind on them.
MIDDLE, WIDTH, BEHIND = 3.0, 2.5, (0.3, 1.0)
#: Spreads of the shift of a run: flips alone, and about 0.3 points of accuracy beside them.
RUNS = (0.0, 0.05)


@dataclass(frozen=True)
class Covered:
    """Shares of the intervals that hold the truth, and the mean halves of those for new images, in points."""

    runs_alone: float
    new_images: float
    half: float
    limit: float


def logits(rng: np.random.Generator, images: int) -> Floats:
    """Of both nets, (2, images)."""
    first = rng.normal(MIDDLE, WIDTH, images)
    return np.stack([first, first - rng.normal(*BEHIND, images)])


def truth(runs: float) -> float:
    """The difference over all images and runs."""
    rng = np.random.default_rng(0)
    drawn = logits(rng, 4_000_000) + rng.normal(0, runs, 4_000_000)
    first, second = expit(drawn).mean(axis=1)
    return float(first - second)


def covered(images: int, seeds: int, runs: float, studies: int) -> Covered:
    """Draw studies of two nets."""
    rng, true = np.random.default_rng([images, seeds, round(1000 * runs)]), truth(runs)
    held = []
    for _ in range(studies):
        shares = expit(logits(rng, images)[:, None] + rng.normal(0, runs, (2, seeds, 1)))
        a, b = rng.random(shares.shape) < shares
        cells = [Sample(tuple(hits.mean(axis=1).tolist()), flip_variance(hits) or 0.0) for hits in (a, b)]
        estimate = difference(cells[:1], cells[1:])
        interval = estimate.interval() if estimate else None
        assert estimate and interval
        new = new_images(estimate, [a], [b])
        holds = [abs(estimate.value - true) <= each.half for each in (interval, new.interval)]
        held.append([*holds, 100 * new.interval.half, 100 * new.limit])
    return Covered(*np.mean(held, axis=0).tolist())


def table(studies: int) -> Iterator[str]:
    """The lines of the table."""
    yield "| images | seeds | spread of runs | verdict's holds it, % | for new images too, % | its half | limit |"
    yield "|---|---|---|---|---|---|---|"
    for images in IMAGES:
        for runs in RUNS:
            for seeds in SEEDS:
                one = covered(images, seeds, runs, studies)
                known = f"{100 * one.runs_alone:.1f} | {100 * one.new_images:.1f} | {one.half:.2f} | {one.limit:.2f}"
                yield f"| {images:,} | {seeds} | {'flips alone' if not runs else 'more'} | {known} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    for line in table(parser.parse_args().studies):
        print(line, flush=True)


if __name__ == "__main__":
    main()
