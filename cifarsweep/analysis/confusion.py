"""Which classes a cell recognises, and which it takes for others, summed up over its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.records import ClassCounts
from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.types import TrialState

if TYPE_CHECKING:
    from cifarsweep.store import Store
    from cifarsweep.store.records import TrialRow

#: Of more classes nobody reads a matrix, and its counts would fill the memory.
MOST_CLASSES = 200
#: Trials that are read at a time.
_PAGE = 20


def class_counts(store: Store, study: str, rows: Sequence[TrialRow]) -> dict[str, ClassCounts]:
    """The counts of every cell whose trials recorded them, by its name."""
    done = {row.number: row for row in rows if row.state is TrialState.DONE}
    found: dict[str, list[npt.NDArray[np.int64]]] = {}
    numbers = list(done)
    for start in range(0, len(numbers), _PAGE):
        for number, counts in store.metrics.read_prefix(study, CONFUSION, numbers[start : start + _PAGE]).items():
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
