"""A study's metrics as curves.

They are read some trials at a time: a study of any size fits into memory, without a transaction for each trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cifarsweep.errors import OutputError, install_command
from cifarsweep.spec.metrics import CONFUSION

if TYPE_CHECKING:
    from cifarsweep.store import Store
    from cifarsweep.store.trial_records import TrialRow

COLUMNS = ("trial", "cell", "seed", "name", "step", "value")
#: One more column of a study with trials that took steps over: from which trial, and how many.
REUSED = "reused"
#: Rows that are read at a time, and trials that are asked for at once.
_ROWS, _TRIALS = 100_000, 500


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one trial: steps (int64, ascending) and values (float64)."""

    trial: TrialRow
    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def columns_of(trials: Sequence[TrialRow]) -> tuple[str, ...]:
    """The columns of a table of these trials."""
    return (*COLUMNS, REUSED) if any(trial.reuse for trial in trials) else COLUMNS


def curves(
    store: Store, study: str, names: Sequence[str], trials: Sequence[TrialRow] | None = None
) -> Iterator[list[Curve]]:
    """Yield the curves of each trial of a study; of all metrics if `names` is empty. `trials` are its, if read before.

    Raises UnknownStudy, or OutputError for a metric without rows in the study.
    """
    known = store.metrics.names(study)
    if unknown := sorted(set(names) - set(known)):
        # The metrics of pairs of classes would crowd out the others.
        listed = ", ".join(name for name in known if not name.startswith(CONFUSION)) or "none yet"
        raise OutputError(f"study {study!r} has no metric {unknown[0]!r}; it has: {listed}")
    for page in _pages(store, study, names, store.trials.all(study) if trials is None else trials):
        curves_by_number: dict[int, list[Curve]] = {trial.number: [] for trial in page}
        series = store.metrics.read(study, names or known, only=list(curves_by_number))
        by_number = {trial.number: trial for trial in page}
        for number, name in sorted(series):
            curves_by_number[number].append(Curve(by_number[number], name, *series.pop((number, name))))
        yield from curves_by_number.values()


def _pages(store: Store, study: str, names: Sequence[str], trials: Sequence[TrialRow]) -> Iterator[Sequence[TrialRow]]:
    """Yield trials to read at a time, of `_ROWS` rows together, or a single one with more."""
    for start in range(0, len(trials), _TRIALS):
        some = trials[start : start + _TRIALS]
        counts = store.metrics.row_counts(study, names or None, [trial.number for trial in some])
        page: list[TrialRow] = []
        rows = 0
        for trial in some:
            if page and rows + counts[trial.number] > _ROWS:
                yield page
                page, rows = [], 0
            page.append(trial)
            rows += counts[trial.number]
        yield page


def points(curve: Curve) -> Iterator[tuple[int, float]]:
    """Step and value as Python's own numbers."""
    return zip(curve.steps.tolist(), curve.values.tolist(), strict=True)


def missing(extra: str) -> OutputError:
    """The error of a package that is not installed."""
    return OutputError(f"{extra} needs one more package: {install_command(extra)}")
