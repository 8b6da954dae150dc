"""Shares: whether a number of hits is more than guessing gives, and how many runs may share a fate."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.stats.summary import CONFIDENCE

#: The chance that a normal value lies more than 5 standard errors above its mean.
BEYOND_GUESSING = 2.866515718791933e-07


def beats_guessing(hits: float, images: int, share: float) -> bool:
    """Return whether so many hits of `images` are more than luck gives a guesser that hits a `share` of them.

    That is, more than 5 standard errors above it. The tail is that of the binomial distribution itself, since a normal
    one is wrong where the images are few or the share is near 1.
    """
    from scipy.special import bdtrc

    if not share < 1:
        return False
    # bdtrc(k, n, p) is the chance of more than k successes.
    return round(hits) > share * images and float(bdtrc(round(hits) - 1, images, share)) < BEYOND_GUESSING


def share_at_most(count: int, of: int) -> float:
    """Return the 95 % upper bound of the share of all runs that `count` of `of` runs come from.

    One-sided, by Clopper and Pearson (1934): 0 of 3 leave up to 63 %.
    """
    from scipy.special import betaincinv

    return 1.0 if count >= of else float(betaincinv(count + 1, of - count, CONFIDENCE))


@dataclass(frozen=True, slots=True)
class Guess:
    """What guessing gives on the images that a trial is judged by."""

    share: float
    """The accuracy of always naming the largest class."""
    images: int | None
    """None if their number is unknown; then no accuracy is known to be that of a guess."""
    recorded: bool = True
    """Whether the trial recorded it; else all classes are taken to be equally large."""

    def covers(self, accuracy: float) -> bool:
        """Whether the accuracy is no better than a guess."""
        return self.images is not None and not beats_guessing(accuracy * self.images, self.images, self.share)
