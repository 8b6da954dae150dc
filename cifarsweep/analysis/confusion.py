"""Which classes a cell recognises, and which it takes for others: counts in, what the figures draw out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.records import ClassCounts, ReportStudy
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import visible
from cifarsweep.report.curves import packed
from cifarsweep.spec.types import CONFUSION, TrialState
from cifarsweep.stats import band

if TYPE_CHECKING:
    from cifarsweep.store import Store
    from cifarsweep.store.records import TrialRow

#: Of more classes nobody reads a matrix, and its counts would fill the memory.
MOST_CLASSES = 200
#: Of so many, the hardest, the accuracies are drawn.
CLASSES_SHOWN = 20
#: Entries of all the matrices of a page; the cells of the highest accuracy have theirs, as far as this goes.
_MOST_ENTRIES = 300_000
#: Trials that are read at a time.
_PAGE = 20


def class_counts(store: Store, study: str, rows: Sequence[TrialRow]) -> dict[str, ClassCounts]:
    """The counts of every cell whose trials recorded them, by its name."""
    done = {row.number: row for row in rows if row.state is TrialState.DONE}
    found: dict[str, list[npt.NDArray[np.int64]]] = {}
    numbers = list(done)
    for start in range(0, len(numbers), _PAGE):
        for number, counts in store.counts(study, CONFUSION, numbers[start : start + _PAGE]).items():
            if (matrix := _matrix(counts)) is not None:
                found.setdefault(done[number].cell, []).append(matrix)
    # Imported trials trained on images that nobody here knows.
    datasets = {row.cell: row.own_settings.dataset if row.own_settings else "" for row in rows}
    return {cell: _summed(datasets[cell], matrices) for cell, matrices in found.items()}


def _matrix(counts: Mapping[str, float]) -> npt.NDArray[np.int64] | None:
    """True classes in rows; None where a name is none that training writes, or there are too many classes."""
    pairs = [name.removeprefix(CONFUSION).split("/") for name in counts]
    if not all(len(pair) == 2 and all(part.isdecimal() and len(part) < 6 for part in pair) for pair in pairs):
        return None
    places = np.array(pairs, dtype=np.int64)
    size = int(places.max()) + 1
    if size > MOST_CLASSES:
        return None
    matrix = np.zeros((size, size), np.int64)
    matrix[places[:, 0], places[:, 1]] = np.array(list(counts.values())).astype(np.int64)
    return matrix


def _summed(dataset: str, matrices: Sequence[npt.NDArray[np.int64]]) -> ClassCounts:
    # A class that a trial neither met nor guessed is not in its matrix.
    size = max(len(matrix) for matrix in matrices)
    same = [np.pad(matrix, (0, size - len(matrix))) for matrix in matrices]
    with np.errstate(invalid="ignore"):
        recall = np.array([matrix.diagonal() / matrix.sum(axis=1) for matrix in same])
    return ClassCounts(dataset, np.sum(same, axis=0), recall)


def class_payload(report: ReportStudy, results: Sequence[CellResult]) -> dict[str, Any] | None:
    """What the figures of classes draw, ready for JSON; None where no trial recorded it.

    Cells on another data set than the first one have other classes and are left out.
    """
    known = [result.cell.name for result in results if result.cell.name in report.confusion]
    if not known:
        return None
    dataset = report.confusion[known[0]].dataset
    found = {name: report.confusion[name] for name in known if report.confusion[name].dataset == dataset}
    size = max(len(each.counts) for each in found.values())
    with_matrix = set(_highest(results, found, _MOST_ENTRIES // size**2))
    names = report.class_names.get(dataset, ())
    return {
        "names": [visible(names[place]) if place < len(names) else f"class {place}" for place in range(size)],
        "cells": [_payload_cell(found.get(result.cell.name), result, with_matrix, size) for result in results],
    }


def most_classes(report: ReportStudy) -> int:
    """Of the data sets of the study, as far as the counts tell."""
    return max((len(each.counts) for each in report.confusion.values()), default=0)


def _highest(results: Sequence[CellResult], found: Mapping[str, ClassCounts], most: int) -> list[str]:
    """The names of the cells of the highest mean accuracy, one at least."""
    ranked = sorted((result for result in results if result.cell.name in found), key=_accuracy, reverse=True)
    return [result.cell.name for result in ranked[: max(most, 1)]]


def _accuracy(result: CellResult) -> float:
    return result.accuracy.mean if result.accuracy else 0.0


def _payload_cell(
    found: ClassCounts | None, result: CellResult, with_matrix: set[str], size: int
) -> dict[str, Any] | None:
    if found is None:
        return None
    places = np.arange(size)
    recall = np.pad(found.recall, ((0, 0), (0, size - found.recall.shape[1])), constant_values=np.nan)
    curve = band([(places, np.nan_to_num(seed)) for seed in recall])
    mean = np.where(np.isnan(recall).all(axis=0), np.nan, curve.mean)
    counts = np.pad(found.counts, (0, size - len(found.counts)))
    return {
        "seeds": len(recall),
        "mean": packed(mean, "f4"),
        "half": packed((curve.high - curve.low) / 2, "f4") if len(recall) > 1 else None,
        "counts": packed(counts.ravel(), "i4") if result.cell.name in with_matrix else None,
    }
