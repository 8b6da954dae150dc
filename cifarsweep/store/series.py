"""Metric series out, as arrays. Like the way in, it goes past SQLAlchemy's rows: a report reads millions of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from cifarsweep.store.tables import trial

Series = tuple[NDArray[np.int64], NDArray[np.float64]]

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0}

# One look into the key for each series, whose rows lie together there in order.
_SQLITE = "SELECT step, value, kind FROM cs_metric WHERE trial_id = ? AND name = ? ORDER BY step"
_POSTGRES = (
    "SELECT trial_id, name, array_agg(step ORDER BY step), array_agg(value ORDER BY step), "
    "array_agg(kind ORDER BY step) FROM cs_metric WHERE trial_id = ANY(%b) AND name = ANY(%b) GROUP BY trial_id, name "
    "ORDER BY trial_id, name"
)
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
                array[place] = _SPECIAL[kind]
    return np.array(steps, dtype=np.int64), array
