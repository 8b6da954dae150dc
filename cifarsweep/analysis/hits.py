"""Which images the trials of a cell got right at their last evaluation.

`stats.hits` turns `cell_hits` into the noise of single flips (`flip_variance`) and the standard error of a difference
for new images too (`difference_error`).
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.outcomes import compared_runs
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.spec import types
from cifarsweep.spec.metrics import TEST_ACCURACY, VAL_ACCURACY
from cifarsweep.stats.hits import Hits

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: The accuracies of which a trial keeps the hits.
KEPT = (VAL_ACCURACY, TEST_ACCURACY)


def read_hits(
    store: Store, report: ReportStudy, cells: Collection[str]
) -> dict[tuple[int, str], npt.NDArray[np.bool_]]:
    """Read the hits of the trials of these cells that are done: bool (images,) by trial number and accuracy."""
    numbers = [trial.number for trial in report.trials if trial.done and trial.cell in cells]
    return {key: unpacked(found) for key, found in store.metrics.hits(report.study.name, KEPT, numbers).items()}


def unpacked(hits: types.Hits) -> npt.NDArray[np.bool_]:
    """Return bool (images,)."""
    packed = np.frombuffer(base64.b64decode(hits.packed), np.uint8)
    return np.unpackbits(packed, count=hits.images).astype(np.bool_)


def cell_hits(report: ReportStudy, cell: str, metric: str = VAL_ACCURACY) -> Hits | None:
    """Return which images the runs of a cell got right at their last evaluation, bool (runs, images).

    Runs stand for the cell, by number: those that fell out would look like flips. None where none of them
    kept its hits, or they were judged on sets of different sizes: trials of earlier versions kept none, and only the
    cells of `ReportStudy.hits` were read.
    """
    return hits_of([trial for trial in report.trials if trial.cell == cell], report, metric)


def hits_of(trials: Collection[ReportTrial], report: ReportStudy, metric: str = VAL_ACCURACY) -> Hits | None:
    """Return the same of some trials of one cell."""
    numbers = [trial.number for trial in compared_runs(trials) if trial.trained]
    runs = [report.hits[number, metric] for number in numbers if (number, metric) in report.hits]
    return np.array(runs) if runs and len({len(run) for run in runs}) == 1 else None
