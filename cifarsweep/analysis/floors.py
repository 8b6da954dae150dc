"""The variance that a measurement alone gives: seeds that lie closer together count as that far apart."""

from __future__ import annotations

from collections.abc import Collection

from cifarsweep.analysis.hits import KEPT, hits_of
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.spec.hypothesis import Hypothesis, moment_of
from cifarsweep.spec.metrics import VAL_ACCURACY, is_share
from cifarsweep.stats.hits import flip_variance

#: As many as the test set of CIFAR has: where the number of images is unknown, as in imported logs.
_IMAGES = 10_000


def floor_of(trials: Collection[ReportTrial], hypothesis: Hypothesis, report: ReportStudy) -> float:
    """The least variance of the values of a cell whose trials these are; 0 for what is no share of images.

    A share of N images has steps of 1 / N, and a value that is uniform within a step has the variance 1 / (12 N^2)
    (https://en.wikipedia.org/wiki/Quantization_(signal_processing)). A final accuracy varies at least as single
    images do that flip between runs, where these are known.
    """
    if not is_share(hypothesis.metric):
        return 0.0
    if hypothesis.metric in KEPT and moment_of(hypothesis) is None:
        return accuracy_floor(trials, report, hypothesis.metric)
    return 1 / images_of(trials) ** 2 / 12


def accuracy_floor(trials: Collection[ReportTrial], report: ReportStudy, metric: str = VAL_ACCURACY) -> float:
    """The same for final accuracies; for the mean of k evaluations, what k independent ones give."""
    hits = hits_of(trials, report, metric)
    flips = flip_variance(hits) if hits is not None else None
    evaluations = report.study.final.mean_of if metric in (VAL_ACCURACY, report.study.metric) else 1
    return max(1 / images_of(trials) ** 2 / 12, flips or 0.0) / evaluations


def guessing_floor(trials: Collection[ReportTrial], chance: float) -> float:
    """The variance of the accuracy of guesses that are right with this chance (binomial distribution)."""
    return chance * (1 - chance) / images_of(trials)


def images_of(trials: Collection[ReportTrial]) -> int:
    """The number of images that the accuracies are of."""
    return next((trial.guess.images for trial in trials if trial.guess and trial.guess.images), _IMAGES)
