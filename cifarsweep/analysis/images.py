"""Which test images are hard for all cells of a study, and which ones tell two cells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.hits import cell_hits
from cifarsweep.spec.metrics import TEST_ACCURACY, VAL_ACCURACY
from cifarsweep.spec.study import datasets
from cifarsweep.stats.estimate import Sample, difference
from cifarsweep.stats.hits import Hits, NewImages, flip_variance, new_images

if TYPE_CHECKING:
    from cifarsweep.analysis.records import ReportStudy
    from cifarsweep.analysis.results import CellResult


@dataclass(frozen=True, slots=True)
class Apart:
    """The two cells with the highest means. A cell gets an image if all its runs do, and misses it if none does."""

    best: str
    next: str
    only_best: tuple[int, ...]
    """The images that the best cell gets and the next one misses, by their place in the test set."""
    only_next: tuple[int, ...]
    difference: float
    """Of the mean accuracies."""
    new_images: NewImages
    """Of the difference."""


@dataclass(frozen=True, slots=True)
class ImageResults:
    """The images of one test set, as the cells that trained get them right."""

    dataset: str
    images: int
    cells: int
    got: int
    """Images that every run of every cell gets."""
    missed: tuple[int, ...]
    """Those that no run of any cell gets, by their place in the test set."""
    apart: Apart | None
    """None for one cell."""
    complete: bool = True
    """Whether all runs that trained recorded it; those of earlier versions did not."""


def image_results(report: ReportStudy, results: Sequence[CellResult]) -> ImageResults | None:
    """Sum up which test images these cells get; None where no trial recorded it, or test sets differ.

    Cells none of whose runs trained are left out.
    """
    names = datasets(report.study)
    metric = TEST_ACCURACY if any(name == TEST_ACCURACY for _, name in report.hits) else VAL_ACCURACY
    cells = [result.cell for result in results if not result.fell_out.every]
    if metric == VAL_ACCURACY:
        cells = [cell for cell in cells if cell.own_settings and cell.own_settings.validation.split == "test"]
    found = {cell.name: hits for cell in cells if (hits := cell_hits(report, cell.name, metric)) is not None}
    if len(names) != 1 or len({hits.shape[1] for hits in found.values()}) != 1:
        return None
    always = np.all([hits.all(axis=0) for hits in found.values()], axis=0)
    ever = np.any([hits.any(axis=0) for hits in found.values()], axis=0)
    trained = sum(result.fell_out.of - result.fell_out.count for result in results)
    complete = sum(map(len, found.values())) == trained
    return ImageResults(names.pop(), len(ever), len(found), int(always.sum()), _places(~ever), _apart(found), complete)


def _apart(found: Mapping[str, Hits]) -> Apart | None:
    if len(found) < 2:
        return None
    best, second = sorted(found, key=lambda name: -float(found[name].mean()))[:2]
    a, b = found[best], found[second]
    cells = [Sample(tuple(hits.mean(axis=1).tolist()), flip_variance(hits) or 0.0) for hits in (a, b)]
    estimate = difference(cells[:1], cells[1:])
    assert estimate is not None  # every cell has a run
    return Apart(
        best=best,
        next=second,
        only_best=_places(a.all(axis=0) & ~b.any(axis=0)),
        only_next=_places(b.all(axis=0) & ~a.any(axis=0)),
        difference=estimate.value,
        new_images=new_images(estimate, [a], [b]),
    )


def _places(mask: npt.ArrayLike) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())
