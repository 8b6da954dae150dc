"""Metric rows in and out, many at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, select

from cifarsweep.spec.words import MetricRow
from cifarsweep.store.tables import metric, trial

Series = tuple[NDArray[np.int64], NDArray[np.float64]]

# Written out, because SQLAlchemy's own handling of parameters costs more than the database does.
_SQLITE = "INSERT INTO cs_metric (trial_id, name, step, value, kind) VALUES (?, ?, ?, ?, ?)"
_SQLITE_AGAIN = _SQLITE + " ON CONFLICT DO NOTHING"
_POSTGRES = (
    "INSERT INTO cs_metric (trial_id, name, step, value, kind) SELECT %s, name, step, value, kind "
    "FROM unnest(%s::text[], %s::bigint[], %s::float8[], %s::text[]) AS row (name, step, value, kind)"
)
_POSTGRES_AGAIN = _POSTGRES + " ON CONFLICT DO NOTHING"

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0}


def kind_of(value: float) -> str | None:
    """The name of a number that some database would change: SQLite makes NaN NULL and -0 plain 0."""
    if value and math.isfinite(value):
        return None
    if value:
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return "-0" if math.copysign(1.0, value) < 0 else None


def insert_rows(conn: Connection, trial_id: int, rows: Sequence[MetricRow], *, again: bool = False) -> None:
    """Add the rows; `again` skips those that are there already."""
    if not rows:
        return
    kinds = [kind_of(row.value) for row in rows]
    values = [row.value if kind is None else None for row, kind in zip(rows, kinds, strict=True)]
    if conn.dialect.name == "sqlite":
        table = [(trial_id, row.name, row.step, v, k) for row, v, k in zip(rows, values, kinds, strict=True)]
        conn.exec_driver_sql(_SQLITE_AGAIN if again else _SQLITE, table)
    else:
        names, steps = [row.name for row in rows], [row.step for row in rows]
        conn.exec_driver_sql(_POSTGRES_AGAIN if again else _POSTGRES, (trial_id, names, steps, values, kinds))


def drop_beyond(conn: Connection, trial_id: int, step: int) -> None:
    """Delete what a trial recorded after `step`: it is computed again."""
    conn.execute(delete(metric).where(metric.c.trial_id == trial_id, metric.c.step > step))


def read_series(
    conn: Connection, study_id: int, names: Iterable[str], only: Sequence[int] | None = None
) -> dict[tuple[int, str], Series]:
    """Steps, ascending, and values of every series that has rows, by trial number and metric name.

    `only` are the numbers of the trials that are wanted, where it is not all.
    """
    trials = conn.execute(select(trial.c.trial_id, trial.c.number).where(trial.c.study_id == study_id))
    numbers = {trial_id: number for trial_id, number in trials}
    query = (
        select(metric.c.trial_id, metric.c.name, metric.c.step, metric.c.value, metric.c.kind)
        .join(trial, trial.c.trial_id == metric.c.trial_id)
        .where(trial.c.study_id == study_id, metric.c.name.in_(list(names)))
        .order_by(metric.c.trial_id, metric.c.name, metric.c.step)
    )
    if only is not None:
        query = query.where(trial.c.number.in_(only))
    rows = conn.execute(query)
    return {
        (numbers[trial_id], name): _series(list(group))
        for (trial_id, name), group in groupby(rows, key=lambda row: (row[0], row[1]))
    }


def _series(rows: Sequence[Sequence[object]]) -> Series:
    _, _, steps, values, kinds = zip(*rows, strict=True)
    array = np.array(values, dtype=np.float64)
    for place, kind in enumerate(kinds):
        if kind is not None:
            array[place] = _SPECIAL[kind]
    return np.array(steps, dtype=np.int64), array


def to_number(value: float | None, kind: str | None) -> float:
    """The number that `kind_of` took apart."""
    return _SPECIAL[kind] if kind is not None else float(value or 0.0)
