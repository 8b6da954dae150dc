"""Metric series out, as arrays. Like the way in, it goes past SQLAlchemy's rows: a report reads millions of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection, func, select, true

from cifarsweep.errors import UnreadableStudy
from cifarsweep.store.columns import ADVICE, SPECIAL
from cifarsweep.store.rows import unreadable
from cifarsweep.store.schema import metric, study, trial

# Who looks at a database, as `status` does, needs no NumPy, whose import takes a tenth of such a command.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Series: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.float64]]"
#: Of one series: trial, name, its rows, those with a value, and those with a kind.
_Key = tuple[int, str, int, int, int]

# Ranges of the key, whose rows lie together there in order. A number that the database lacks is 0 at first.
_COUNTS = (
    "SELECT trial_id, name, count(*), count(value), count(kind) FROM cs_metric "
    "WHERE trial_id IN (SELECT value FROM json_each(?)) AND name IN (SELECT value FROM json_each(?)) "
    "GROUP BY trial_id, name ORDER BY trial_id, name"
)
_SQLITE = (
    "SELECT step, ifnull(value, 0.0) FROM cs_metric "
    "WHERE trial_id IN (SELECT value FROM json_each(?)) AND name IN (SELECT value FROM json_each(?)) "
    "ORDER BY trial_id, name, step"
)
_POSTGRES = (
    "SELECT trial_id, name, array_agg(step ORDER BY step), array_agg(coalesce(value, 0) ORDER BY step), "
    "count(value), count(kind) FROM cs_metric WHERE trial_id = ANY(%b) AND name = ANY(%b) GROUP BY trial_id, name "
    "ORDER BY trial_id, name"
)
# What SQLite stores in a column of numbers that can't be one.
_NO_NUMBERS = (
    "SELECT trial_id, name, quote(step), quote(value) FROM cs_metric WHERE trial_id IN (SELECT value FROM json_each(?))"
    " AND (typeof(step) <> 'integer' OR typeof(value) NOT IN ('real', 'integer', 'null'))"
)
# A range of the key; PostgreSQL, whose order of texts may be any, looks through the names of the trial.
_SQLITE_UNDER = "SELECT name, value FROM cs_metric WHERE trial_id = ? AND name >= ? AND name < ?"
_POSTGRES_UNDER = "SELECT name, value FROM cs_metric WHERE trial_id = %s AND starts_with(name, %s)"
#: Trials that are asked for at once, and rows after which SQLite is asked for the next ones.
_PAGE, _ROWS = 100, 100_000
#: What a row of SQLite becomes, and an element of an array that PostgreSQL sends, of one dimension and without NULL.
_ROW = [("step", "i8"), ("value", "f8")]
_ELEMENTS = {
    "int8": [("length", ">i4"), ("value", ">i8")],
    "float8": [("length", ">i4"), ("value", ">f8")],
}
_ARRAY_HEAD = 20
#: So many numbers stand in a query; of more, all trials of the study are looked through.
_FEW = 1000


def read_series(
    conn: Connection, study_id: int, names: Iterable[str], only: Sequence[int] | None = None
) -> dict[tuple[int, str], Series]:
    """Steps, ascending, and values of every series that has rows, by trial number and metric name.

    `only` are the numbers of the trials that are wanted, where it is not all.
    """
    numbers = _numbers(conn, study_id, only)
    ids, wanted = list(numbers), sorted(set(names))
    read = _of_sqlite if conn.dialect.name == "sqlite" else _of_postgres
    return {
        (numbers[trial_id], name): series
        for start in range(0, len(ids), _PAGE)
        for trial_id, name, series in read(conn, ids[start : start + _PAGE], wanted)
    }


def read_row_counts(
    conn: Connection, study_id: int, names: Iterable[str] | None, only: Sequence[int]
) -> dict[int, int]:
    """How many rows of the metrics `names`, or of all, the trials `only` have, by their numbers."""
    numbers, found = _numbers(conn, study_id, only), dict.fromkeys(only, 0)
    ids, wanted = list(numbers), true() if names is None else metric.c.name.in_(set(names))
    for start in range(0, len(ids), _FEW):
        query = select(metric.c.trial_id, func.count()).group_by(metric.c.trial_id)
        query = query.where(metric.c.trial_id.in_(ids[start : start + _FEW]), wanted)
        found |= {numbers[trial_id]: rows for trial_id, rows in conn.execute(query)}
    return found


def _numbers(conn: Connection, study_id: int, only: Sequence[int] | None) -> dict[int, int]:
    """The numbers of the trials by their ids."""
    query = select(trial.c.trial_id, trial.c.number).where(trial.c.study_id == study_id).order_by(trial.c.number)
    if only is not None and len(only) <= _FEW:
        query = query.where(trial.c.number.in_(only))
    wanted = None if only is None else set(only)
    return {trial_id: number for trial_id, number in conn.execute(query) if wanted is None or number in wanted}


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
    import numpy as np

    cursor = conn.connection.cursor()
    counts = cursor.execute(_COUNTS, (json.dumps(trial_ids), json.dumps(names))).fetchall()
    for keys in _chunks(counts):
        ids, wanted = sorted({key[0] for key in keys}), sorted({key[1] for key in keys})
        rows = cursor.execute(_SQLITE, (json.dumps(ids), json.dumps(wanted)))
        try:
            table = np.fromiter(rows, np.dtype(_ROW), count=sum(key[2] for key in keys))
        except (TypeError, ValueError, OverflowError):
            raise _no_numbers(conn, ids) from None
        steps, values, end = table["step"].copy(), table["value"].copy(), 0
        for trial_id, name, count, known, kinds in keys:
            start, end = end, end + count
            series = steps[start:end], values[start:end]
            if known < count or kinds:
                _put_special(conn, trial_id, name, series)
            yield trial_id, name, series
    cursor.close()


def _chunks(counts: Sequence[_Key]) -> Iterator[list[_Key]]:
    """The series of as many trials as have about `_ROWS` rows; of a trial that has more, one series at a time."""
    chunk: list[_Key] = []
    chunk_rows = 0
    for _, group in groupby(counts, key=itemgetter(0)):
        keys = list(group)
        rows = sum(key[2] for key in keys)
        if chunk and chunk_rows + rows > _ROWS:
            yield chunk
            chunk, chunk_rows = [], 0
        if rows > _ROWS:
            yield from ([key] for key in keys)
        else:
            chunk += keys
            chunk_rows += rows
    if chunk:
        yield chunk


def _of_postgres(conn: Connection, trial_ids: list[int], names: list[str]) -> Iterator[tuple[int, str, Series]]:
    with _binary_cursor(conn) as cursor:
        cursor.execute(_POSTGRES, (trial_ids, names))
        for trial_id, name, steps, values, known, kinds in cursor:
            if known < len(steps) or kinds:
                _put_special(conn, trial_id, name, (steps, values))
            yield trial_id, name, (steps, values)


def _binary_cursor(conn: Connection) -> Any:
    """A cursor whose arrays of numbers are NumPy's own, made at once instead of number by number."""
    from psycopg.postgres import types

    cursor: Any = conn.connection.cursor(binary=True)
    for kind, element in _ELEMENTS.items():
        cursor.adapters.register_loader(types[kind].array_oid, _loader(element))
    return cursor


def _loader(element: list[tuple[str, str]]) -> type[Any]:
    import numpy as np
    from psycopg.adapt import Buffer, Loader
    from psycopg.pq import Format

    class Numbers(Loader):
        format = Format.BINARY

        def load(self, data: Buffer) -> NDArray[Any]:
            numbers = np.frombuffer(data, np.dtype(element), offset=_ARRAY_HEAD)["value"]
            return numbers.astype(numbers.dtype.newbyteorder("="))

    return Numbers


def _put_special(conn: Connection, trial_id: int, name: str, series: Series) -> None:
    """Put the numbers where they belong that the database has no number for; NULL without a kind is nan."""
    import numpy as np

    steps, values = series
    query = select(metric.c.step, metric.c.kind, metric.c.value)
    odd = metric.c.kind.is_not(None) | metric.c.value.is_(None)
    for step, kind, _ in conn.execute(query.where(metric.c.trial_id == trial_id, metric.c.name == name, odd)):
        if kind is not None and kind not in SPECIAL:
            raise _unreadable(conn, trial_id, name, f"kind is {kind!r}, which must be one of {', '.join(SPECIAL)}")
        values[np.searchsorted(steps, step)] = SPECIAL[kind] if kind is not None else math.nan


def _no_numbers(conn: Connection, trial_ids: list[int]) -> UnreadableStudy:
    found = conn.exec_driver_sql(_NO_NUMBERS, (json.dumps(trial_ids),)).first()
    assert found is not None
    trial_id, name, step, value = found
    return _unreadable(conn, trial_id, name, f"step is {step} and value {value}, where both must be numbers")


def _unreadable(conn: Connection, trial_id: int, name: str, what: str) -> UnreadableStudy:
    query = select(study.c.name, trial.c.number).join(trial, trial.c.study_id == study.c.study_id)
    owner, number = conn.execute(query.where(trial.c.trial_id == trial_id)).one()
    return unreadable(owner, f"cs_metric has a row of {name!r} whose {what}; {ADVICE}", number)
