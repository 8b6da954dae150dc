"""Metric series out, as arrays. Like the way in, it goes past SQLAlchemy's rows: a report reads millions of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from cifarsweep.store.tables import metric, trial

Series = tuple[NDArray[np.int64], NDArray[np.float64]]

SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0}

# One look into the key for each series, whose rows lie together there in order.
_SQLITE = "SELECT step, value, kind FROM cs_metric WHERE trial_id = ? AND name = ? ORDER BY step"
_POSTGRES = (
    "SELECT trial_id, name, array_agg(step ORDER BY step), array_agg(value ORDER BY step), "
    "array_agg(kind ORDER BY step) FROM cs_metric WHERE trial_id = ANY(%b) AND name = ANY(%b) GROUP BY trial_id, name "
    "ORDER BY trial_id, name"
)
# A range of the key; PostgreSQL, whose order of texts may be any, looks through the names of the trial.
_SQLITE_UNDER = "SELECT name, value FROM cs_metric WHERE trial_id = ? AND name >= ? AND name < ?"
_POSTGRES_UNDER = "SELECT name, value FROM cs_metric WHERE trial_id = %s AND starts_with(name, %s)"
#: Trials that PostgreSQL gathers for one answer.
_PAGE = 100


def read_series(
    conn: Connection, study_id: int, names: Iterable[str], only: Sequence[int] | None = None
) -> dict[tuple[int, str], Series]:
    """Steps, ascending, and values of every series that has rows, by trial number and metric name.

    `only` are the numbers of the trials that are wanted, where it is not all.
    """
    query = select(trial.c.trial_id, trial.c.number).where(trial.c.study_id == study_id).order_by(trial.c.number)
    if only is not None:
        query = query.where(trial.c.number.in_(only))
    numbers = {trial_id: number for trial_id, number in conn.execute(query)}
    read = _of_sqlite if conn.dialect.name == "sqlite" else _of_postgres
    found = read(conn, list(numbers), sorted(set(names)))
    return {(numbers[trial_id], name): series for trial_id, name, series in found}


def read_names(conn: Connection, study_id: int) -> list[str]:
    """The names of all metrics of a study, in order."""
    ids = select(trial.c.trial_id).where(trial.c.study_id == study_id)
    query = select(metric.c.name).where(metric.c.trial_id.in_(ids)).distinct().order_by(metric.c.name)
    return list(conn.execute(query).scalars())


def read_under(conn: Connection, study_id: int, prefix: str, only: Sequence[int]) -> dict[int, dict[str, float]]:
    """The finite values of the metrics whose names begin with `prefix`, by trial number, of the trials `only`.

    For metrics of many names and one row each, such as counts. Trials without any are left out.
    """
    query = select(trial.c.trial_id, trial.c.number).where(trial.c.study_id == study_id, trial.c.number.in_(only))
    after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    found: dict[int, dict[str, float]] = {}
    for trial_id, number in conn.execute(query):
        if conn.dialect.name == "sqlite":
            rows = conn.exec_driver_sql(_SQLITE_UNDER, (trial_id, prefix, after))
        else:
            rows = conn.exec_driver_sql(_POSTGRES_UNDER, (trial_id, prefix))
        if values := {name: value for name, value in rows if value is not None}:
            found[number] = values
    return found


def _of_sqlite(conn: Connection, trial_ids: list[int], names: list[str]) -> Iterator[tuple[int, str, Series]]:
    cursor = conn.connection.cursor()
    for trial_id in trial_ids:
        for name in names:
            rows = cursor.execute(_SQLITE, (trial_id, name)).fetchall()
            if rows:
                yield trial_id, name, _series(*zip(*rows, strict=True))
    cursor.close()


def _of_postgres(conn: Connection, trial_ids: list[int], names: list[str]) -> Iterator[tuple[int, str, Series]]:
    cursor: Any = conn.connection.cursor(binary=True)
    with cursor:
        for start in range(0, len(trial_ids), _PAGE):
            cursor.execute(_POSTGRES, (trial_ids[start : start + _PAGE], names))
            for trial_id, name, steps, values, kinds in cursor:
                yield trial_id, name, _series(steps, values, kinds)


def _series(steps: Sequence[int], values: Sequence[float | None], kinds: Sequence[str | None]) -> Series:
    # NumPy reads None as nan.
    array = np.array(values, dtype=np.float64)
    if any(kinds):
        for place, kind in enumerate(kinds):
            if kind is not None:
                array[place] = SPECIAL[kind]
    return np.array(steps, dtype=np.int64), array
