"""A study's metrics, one curve after the other.

Some trials are read at a time, so that a study of any size fits into memory and is not one transaction a trial.
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
    from cifarsweep.store.records import TrialRow

COLUMNS = ("trial", "cell", "seed", "name", "step", "value")
#: Rows that are read at a time, and trials that are asked for at once.
_ROWS, _TRIALS = 100_000, 500


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one trial: steps (int64, ascending) and values (float64)."""

    trial: TrialRow
    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def curves(store: Store, study: str, names: Sequence[str]) -> Iterator[list[Curve]]:
    """The curves of a study, those of one trial at a time; all metrics where `names` is empty.

    Raises UnknownStudy, or OutputError for a metric that the study has no row of.
    """
    known = store.metrics.names(study)
    if unknown := sorted(set(names) - set(known)):
        # One for each pair of classes would bury the others.
        listed = ", ".join(name for name in known if not name.startswith(CONFUSION)) or "none yet"
        raise OutputError(f"study {study!r} has no metric {unknown[0]!r}; it has: {listed}")
    for page in _pages(store, study, names):
        by_trial: dict[int, list[Curve]] = {trial.number: [] for trial in page}
        series = store.metrics.read(study, names or known, only=list(by_trial))
        of = {trial.number: trial for trial in page}
        for number, name in sorted(series):
            by_trial[number].append(Curve(of[number], name, *series.pop((number, name))))
        yield from by_trial.values()


def _pages(store: Store, study: str, names: Sequence[str]) -> Iterator[list[TrialRow]]:
    """Trials to read at a time, of `_ROWS` rows together, or one that has more."""
    trials = store.trials.all(study)
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
    """What to say where a package is not installed."""
    return OutputError(f"{extra} needs one more package: {install_command(extra)}")
