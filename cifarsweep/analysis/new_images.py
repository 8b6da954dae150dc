"""The interval of a difference of accuracies for new images too, where all runs kept which images they got right."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

from cifarsweep.analysis.hits import KEPT, hits_of
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.samples import DoneTrials, Side
from cifarsweep.spec.hypothesis import Hypothesis, moment_of
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.stats.estimate import FEWEST_SEEDS, Estimate
from cifarsweep.stats.evidence import Evidence
from cifarsweep.stats.hits import Hits, NewImages, new_images

#: Runs of one cell, with the study that they are of.
Runs = tuple[ReportStudy, Collection[ReportTrial]]


def of_hypothesis(
    hypothesis: Hypothesis, evidence: Evidence | None, compared: Sequence[Side], done: DoneTrials, report: ReportStudy
) -> NewImages | None:
    """Return it for what a hypothesis says of two sides, of `best` the level and the one that comes nearest.

    None for values at a moment before the end, of which no hits are kept, and for what is no difference of accuracies.
    """
    if evidence is None or hypothesis.metric not in KEPT or moment_of(hypothesis):
        return None
    if hypothesis.kind == "best":
        compared = [compared[0], compared[1 + evidence.weakest]]
    elif hypothesis.kind not in ("greater", "not_worse", "equivalent"):
        return None
    a, b = ([(report, done.get(cell, {}).values()) for cell in side.cells] for side in compared)
    return of_difference(evidence.estimate, a, b, hypothesis.metric)


def of_difference(
    estimate: Estimate, a: Sequence[Runs], b: Sequence[Runs], metric: str = VAL_ACCURACY
) -> NewImages | None:
    """Return it for an estimated difference of two sides of these cells.

    Of a mean of the last evaluations the spread over runs is that of the means, and what images bring in is taken from
    the last evaluation. None for fewer runs than a verdict takes, and unless every run kept its hits, on the same
    images.
    """
    cells = [*a, *b]
    judged = {images for report, runs in cells for images in _images(report, runs, metric)}
    found = [hits for report, runs in cells if (hits := _every(report, runs, metric)) is not None]
    if estimate.n < FEWEST_SEEDS or len(judged) != 1 or len(found) < len(cells):
        return None
    if len({hits.shape[1] for hits in found}) != 1:
        return None
    return new_images(estimate, found[: len(a)], found[len(a) :])


def images_known(report: ReportStudy, runs: Collection[ReportTrial]) -> bool:
    """Whether each run recorded the digest of its images, so that they compare with those of another study."""
    return all(digest for _, _, digest in _images(report, runs, VAL_ACCURACY))


def _every(report: ReportStudy, runs: Collection[ReportTrial], metric: str) -> Hits | None:
    hits = hits_of(runs, report, metric)
    return hits if hits is not None and len(hits) == sum(run.last(metric) is not None for run in runs) else None


def _images(report: ReportStudy, runs: Collection[ReportTrial], metric: str) -> set[tuple[str, Hashable, str | None]]:
    """The images that runs were judged on: the data set, which part of it, and the digest that attempts recorded."""
    settings = {cell.name: cell.own_settings for cell in report.study.cells}
    found: set[tuple[str, Hashable, str | None]] = set()
    for run in runs:
        if (own := settings.get(run.cell)) is not None:
            held_out = metric == VAL_ACCURACY and own.validation.split == "holdout"
            for versions in run.environments or ({},):
                # Another torch may hold out other images by the same seed.
                part = (own.validation, versions.get("torch")) if held_out else None
                found.add((own.dataset, part, versions.get(DATA_VERSION + own.dataset)))
    return found
