"""Confusion counts of each cell, summed over its trials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.outcomes import compared_runs
from cifarsweep.analysis.records import ClassCounts, ReportStudy, ReportTrial
from cifarsweep.spec.metrics import CONFUSION

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: A matrix of more classes is unreadable, and its counts would fill the memory.
MOST_CLASSES = 200
#: Number of trials that are read at a time.
_PAGE = 20


def class_counts(store: Store, report: ReportStudy, cells: Collection[str]) -> dict[str, ClassCounts]:
    """Read the counts of the runs that stand for these cells, by name; cells that recorded none are left out."""
    ended: dict[str, list[ReportTrial]] = {}
    for trial in report.trials:
        if trial.done and trial.cell in cells:
            ended.setdefault(trial.cell, []).append(trial)
    done = {trial.number: cell for cell, trials in ended.items() for trial in compared_runs(trials)}
    matrices: dict[str, list[npt.NDArray[np.int64]]] = {}
    numbers, study = list(done), report.study.name
    for start in range(0, len(numbers), _PAGE):
        for number, counts in store.metrics.read_prefix(study, CONFUSION, numbers[start : start + _PAGE]).items():
            if (matrix := _matrix(counts)) is not None:
                matrices.setdefault(done[number], []).append(matrix)
    # The images of imported trials are unknown.
    datasets = {cell.name: cell.own_settings.dataset if cell.own_settings else "" for cell in report.study.cells}
    return {cell: _summed(datasets[cell], group) for cell, group in matrices.items()}


def _matrix(counts: Mapping[str, float]) -> npt.NDArray[np.int64] | None:
    """True classes in rows; None if a name is malformed, or there are too many classes."""
    pairs = [name.removeprefix(CONFUSION).split("/") for name in counts]
    if not all(len(pair) == 2 and all(part.isdecimal() and len(part) < 6 for part in pair) for pair in pairs):
        return None
    indices = np.array(pairs, dtype=np.int64)
    size = int(indices.max()) + 1
    if size > MOST_CLASSES:
        return None
    matrix = np.zeros((size, size), np.int64)
    matrix[indices[:, 0], indices[:, 1]] = np.array(list(counts.values())).astype(np.int64)
    return matrix


def _summed(dataset: str, matrices: Sequence[npt.NDArray[np.int64]]) -> ClassCounts:
    # A class that a trial neither met nor predicted is missing from its matrix.
    size = max(len(matrix) for matrix in matrices)
    padded = [np.pad(matrix, (0, size - len(matrix))) for matrix in matrices]
    with np.errstate(invalid="ignore"):
        recall = np.array([matrix.diagonal() / matrix.sum(axis=1) for matrix in padded])
    return ClassCounts(dataset, np.sum(padded, axis=0), recall)
