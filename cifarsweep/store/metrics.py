"""Metric rows in, many at a time.

The drivers are used directly here: at this number of rows SQLAlchemy's handling of parameters and rows costs more than
the databases do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite
from struct import Struct, pack
from typing import Any

from sqlalchemy import Connection, delete

from cifarsweep.spec.types import MetricRow
from cifarsweep.store.schema import metric

_SQLITE = "INSERT INTO cs_metric (trial_id, name, step, value, kind) VALUES (?, ?, ?, ?, ?)"
_SQLITE_AGAIN = _SQLITE + " ON CONFLICT DO NOTHING"
_POSTGRES = (
    "INSERT INTO cs_metric (trial_id, name, step, value, kind) SELECT %s, name, step, value, kind "
    "FROM unnest(%s::text[], %s::bigint[], %s::float8[], %s::text[]) AS row (name, step, value, kind)"
)
_POSTGRES_AGAIN = _POSTGRES + " ON CONFLICT DO NOTHING"
_POSTGRES_COPY = "COPY cs_metric (trial_id, name, step, value, kind) FROM STDIN (FORMAT BINARY)"
#: What a binary COPY begins and ends with (https://www.postgresql.org/docs/current/sql-copy.html).
_COPY_HEAD, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
#: From so many rows on COPY, with two round trips more, is the faster way.
_COPY_FROM = 500


def kind_of(value: float) -> str | None:
    """The name of a number that some database would change: SQLite makes NaN NULL and -0 plain 0."""
    if value and isfinite(value):
        return None
    if value:
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return "-0" if math.copysign(1.0, value) < 0 else None


def insert_rows(conn: Connection, trial_id: int, rows: Sequence[MetricRow], *, again: bool = False) -> None:
    """Add the rows; `again` skips those that are there already."""
    if not rows:
        return
    series = _by_name(rows)
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql(_SQLITE_AGAIN if again else _SQLITE, _table(trial_id, series))
    elif again or len(rows) < _COPY_FROM:
        _, *columns = map(list, zip(*_table(trial_id, series), strict=True))
        conn.exec_driver_sql(_POSTGRES_AGAIN if again else _POSTGRES, (trial_id, *columns))
    else:
        _copy(conn, trial_id, series)


def _by_name(rows: Sequence[MetricRow]) -> dict[str, list[MetricRow]]:
    """The rows in the order of the primary key: so the next one goes where the last one went."""
    series = defaultdict(list)
    for row in rows:
        series[row.name].append(row)
    return dict(sorted(series.items()))


def _table(trial_id: int, series: Mapping[str, Sequence[MetricRow]]) -> list[tuple[Any, ...]]:
    return [
        (trial_id, name, row.step, row.value, None)
        if row.value and isfinite(row.value)
        else (trial_id, name, row.step, *_special(row.value))
        for name, rows in series.items()
        for row in rows
    ]


def _special(value: float) -> tuple[float | None, str | None]:
    kind = kind_of(value)
    return None if kind else value, kind


def _copy(conn: Connection, trial_id: int, series: Mapping[str, Sequence[MetricRow]]) -> None:
    cursor: Any = conn.connection.cursor()
    with cursor, cursor.copy(_POSTGRES_COPY) as copy:
        copy.write(_COPY_HEAD)
        for name, rows in series.items():
            copy.write(_binary(trial_id, name.encode(), rows))
        copy.write(_COPY_END)


def _binary(trial_id: int, name: bytes, rows: Sequence[MetricRow]) -> bytes:
    """The rows as COPY takes them: the number of fields, then each after its length, which is -1 for NULL."""
    begin = pack(f">hiqi{len(name)}si", 5, 8, trial_id, len(name), name, 8)
    ordinary = Struct(f">{len(begin)}sqidi").pack
    return b"".join(
        ordinary(begin, row.step, 8, row.value, -1)
        if row.value and isfinite(row.value)
        else begin + _binary_special(row)
        for row in rows
    )


def _binary_special(row: MetricRow) -> bytes:
    value, kind = _special(row.value)
    if kind is None:
        return pack(">qidi", row.step, 8, value, -1)
    return pack(f">qii{len(kind)}s", row.step, -1, len(kind), kind.encode())


def drop_beyond(conn: Connection, trial_id: int, step: int) -> None:
    """Delete what a trial recorded after `step`: it is computed again."""
    conn.execute(delete(metric).where(metric.c.trial_id == trial_id, metric.c.step > step))
