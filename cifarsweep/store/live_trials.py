"""The trials that workers hold, with their newest values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from cifarsweep.errors import UnreadableStudy
from cifarsweep.spec.metrics import EPOCH, TRAIN_LOSS, VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.schema import cell, metric, study, trial
from cifarsweep.store.study_rows import stored

#: Metrics whose newest value a running trial shows.
NEWEST = (EPOCH, TRAIN_LOSS, VAL_ACCURACY)


@dataclass(frozen=True, slots=True)
class LiveTrial:
    """A trial that a worker holds, with the newest value of each of `NEWEST`, and of its `metric`, that it has."""

    cell: str
    seed: int
    newest: Mapping[str, float]
    metric: str = VAL_ACCURACY
    """What its study is about."""


def newest_values(conn: Connection) -> Mapping[int, tuple[str, Mapping[str, float]]]:
    """What is shown of each trial that a worker holds, by its id: its metric, and the newest values that it has."""
    own = _program_metrics(conn)
    newest = _newest(conn, {TRAIN_LOSS, VAL_ACCURACY, *own.values()})
    held = select(trial.c.trial_id, trial.c.study_id).where(trial.c.state == TrialState.LEASED.value)
    return {
        row.trial_id: (own.get(row.study_id, VAL_ACCURACY), newest.get(row.trial_id, {})) for row in conn.execute(held)
    }


def running(conn: Connection) -> dict[tuple[str, int], LiveTrial]:
    """The trials that workers hold, by study and number."""
    query = (
        select(
            trial.c.trial_id, trial.c.study_id, study.c.name, trial.c.number, cell.c.name.label("cell"), trial.c.seed
        )
        .join(study, study.c.study_id == trial.c.study_id)
        .join(cell, cell.c.cell_id == trial.c.cell_id)
        .where(trial.c.state == TrialState.LEASED.value)
    )
    own = _program_metrics(conn)
    newest = _newest(conn, {*NEWEST, *own.values()})
    return {
        (rows.as_name(row.name), row.number): LiveTrial(
            row.cell, row.seed, newest.get(row.trial_id, {}), own.get(row.study_id, VAL_ACCURACY)
        )
        for row in conn.execute(query)
        if isinstance(row.cell, str)
    }


def _program_metrics(conn: Connection) -> dict[int, str]:
    """The metrics of the programs whose trials are held, by the id of their study."""
    held = select(trial.c.study_id).join(cell, cell.c.cell_id == trial.c.cell_id)
    held = held.where(trial.c.state == TrialState.LEASED.value, cell.c.settings.startswith(columns.PARAMETERS))
    found: dict[int, str] = {}
    for row in conn.execute(select(study).where(study.c.study_id.in_(held))):
        with suppress(UnreadableStudy):
            found[row.study_id] = stored(row).spec.metric
    return found


def _newest(conn: Connection, names: Collection[str]) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for name in names:
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
