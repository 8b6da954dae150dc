"""Metric rows in, many at a time.

The drivers are used directly here: at this number of rows SQLAlchemy's handling of parameters and rows costs more than
the databases do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete

from cifarsweep.spec.words import MetricRow
from cifarsweep.store.tables import metric

_SQLITE = "INSERT INTO cs_metric (trial_id, name, step, value, kind) VALUES (?, ?, ?, ?, ?)"
_SQLITE_AGAIN = _SQLITE + " ON CONFLICT DO NOTHING"
_POSTGRES = (
    "INSERT INTO cs_metric (trial_id, name, step, value, kind) SELECT %s, name, step, value, kind "
    "FROM unnest(%s::text[], %s::bigint[], %s::float8[], %s::text[]) AS row (name, step, value, kind)"
)
_POSTGRES_AGAIN = _POSTGRES + " ON CONFLICT DO NOTHING"
_POSTGRES_COPY = "COPY cs_metric (trial_id, name, step, value, kind) FROM STDIN (FORMAT BINARY)"
_COPIED_TYPES = ("int8", "varchar", "int8", "float8", "varchar")
#: From so many rows on COPY, with two round trips more, is the faster way.
_COPY_FROM = 500

Row = tuple[int, str, int, float | None, str | None]


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
    ordinary = math.isfinite
    table: list[Row] = [
        (trial_id, row.name, row.step, row.value, None)
        if row.value and ordinary(row.value)
        else _special(trial_id, row)
        for row in rows
    ]
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql(_SQLITE_AGAIN if again else _SQLITE, table)
    elif again or len(table) < _COPY_FROM:
        _, names, steps, values, kinds = map(list, zip(*table, strict=True))
        conn.exec_driver_sql(_POSTGRES_AGAIN if again else _POSTGRES, (trial_id, names, steps, values, kinds))
    else:
        _copy(conn, table)


def _special(trial_id: int, row: MetricRow) -> Row:
    kind = kind_of(row.value)
    return trial_id, row.name, row.step, None if kind else row.value, kind


def _copy(conn: Connection, table: Sequence[Row]) -> None:
    cursor: Any = conn.connection.cursor()
    with cursor, cursor.copy(_POSTGRES_COPY) as copy:
        copy.set_types(_COPIED_TYPES)
        for row in table:
            copy.write_row(row)


def drop_beyond(conn: Connection, trial_id: int, step: int) -> None:
    """Delete what a trial recorded after `step`: it is computed again."""
    conn.execute(delete(metric).where(metric.c.trial_id == trial_id, metric.c.step > step))
