"""The trials that workers hold, with their newest values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from cifarsweep.spec.metrics import EPOCH, TRAIN_LOSS, VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.schema import cell, metric, study, trial

#: Metrics whose newest value a running trial shows.
NEWEST = (EPOCH, TRAIN_LOSS, VAL_ACCURACY)


@dataclass(frozen=True, slots=True)
class LiveTrial:
    """A trial that a worker holds, with the newest value of each of `NEWEST` that it has."""

    cell: str
    seed: int
    newest: Mapping[str, float]


def running(conn: Connection) -> dict[tuple[str, int], LiveTrial]:
    """The trials that workers hold, by study and number."""
    query = (
        select(trial.c.trial_id, study.c.name, trial.c.number, cell.c.name.label("cell"), trial.c.seed)
        .join(study, study.c.study_id == trial.c.study_id)
        .join(cell, cell.c.cell_id == trial.c.cell_id)
        .where(trial.c.state == TrialState.LEASED.value)
    )
    newest = _newest(conn)
    return {
        (rows.as_name(row.name), row.number): LiveTrial(row.cell, row.seed, newest.get(row.trial_id, {}))
        for row in conn.execute(query)
        if isinstance(row.cell, str)
    }


def _newest(conn: Connection) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for name in NEWEST:
        # The end of a range of the key: fast for series of any length.
        last = select(func.max(metric.c.step)).where(metric.c.trial_id == trial.c.trial_id, metric.c.name == name)
        query = (
            select(metric)
            .join(trial, trial.c.trial_id == metric.c.trial_id)
            .where(trial.c.state == TrialState.LEASED.value, metric.c.name == name)
            .where(metric.c.step == last.correlate(trial).scalar_subquery())
        )
        for row in conn.execute(query):
            value = columns.SPECIAL.get(row.kind) if row.kind else row.value
            if isinstance(value, int | float):
                found[row.trial_id][name] = value
    return found
