"""PostgreSQL: sessions, and what differs from SQLite."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from struct import Struct, pack
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, ColumnElement, Connection, Double, Engine, Table, cast, create_engine, event, func, select
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import insert

from cifarsweep.errors import StoreError, install_command
from cifarsweep.spec.types import MetricRow
from cifarsweep.store.columns import metric_tuples, split_value
from cifarsweep.store.records import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Settings of every session: a stuck client must not hold locks, a stuck server must not hold a worker.
_SESSION = (
    "SET statement_timeout = '300s'",
    "SET lock_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)
#: Options of libpq that notice a peer that vanished; those in the URL win.
_LIBPQ = {
    "application_name": "cifarsweep",
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_INSERT = (
    "INSERT INTO cs_metric (trial_id, name, step, value, kind) SELECT %s, name, step, value, kind "
    "FROM unnest(%s::text[], %s::bigint[], %s::float8[], %s::text[]) AS row (name, step, value, kind)"
)
_INSERT_AGAIN = _INSERT + " ON CONFLICT DO NOTHING"
_COPY = "COPY cs_metric (trial_id, name, step, value, kind) FROM STDIN (FORMAT BINARY)"
#: What a binary COPY begins and ends with (https://www.postgresql.org/docs/current/sql-copy.html).
_COPY_HEAD, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
#: Rows from which on COPY is faster, though it takes two round trips more.
_COPY_FROM = 500
_SERIES = (
    "SELECT trial_id, name, array_agg(step ORDER BY step), array_agg(coalesce(value, 0) ORDER BY step), "
    "count(value), count(kind) FROM cs_metric WHERE trial_id = ANY(%b) AND name = ANY(%b) GROUP BY trial_id, name "
    "ORDER BY trial_id, name"
)
# Not a range of the key: the server's order of texts may be any.
_PREFIX = "SELECT name, value FROM cs_metric WHERE trial_id = %s AND starts_with(name, %s)"
_OTHER_ATTEMPT = "SELECT 1 FROM cs_attempt WHERE identity = %s AND trial_id <> %s LIMIT 1"
#: Elements of an array as the server sends it, of one dimension and without NULL, and the bytes before them.
_ELEMENTS = {
    "int8": [("length", ">i4"), ("value", ">i8")],
    "float8": [("length", ">i4"), ("value", ">f8")],
}
_ARRAY_HEAD = 20


class PostgresBackend:
    """`database.Backend` for PostgreSQL servers."""

    file_based = False

    def create_engine(self, url: URL, *, read_only: bool) -> Engine:
        try:
            engine = create_engine(
                url, isolation_level="READ COMMITTED", connect_args=libpq_options(url), hide_parameters=True
            )
        except ModuleNotFoundError:
            raise StoreError(f"PostgreSQL needs one more package: {install_command('postgres')}") from None
        settings = (*_SESSION, "SET default_transaction_read_only = on") if read_only else _SESSION
        loader = _timestamp_loader()

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            connection.adapters.register_loader("timestamptz", loader)
            with connection.cursor() as cursor:
                for setting in settings:
                    cursor.execute(setting)
            connection.commit()

        return engine

    def opening(self, url: URL, *, create: bool, read_only: bool) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def set_begin(self, engine: Engine, *, reading: bool = False) -> None:
        """Do nothing: the server needs no lock at BEGIN."""

    def transaction_options(self, *, reading: bool) -> dict[str, Any]:
        return {"isolation_level": "REPEATABLE READ"} if reading else {}

    def recover(self, url: URL, error: Exception) -> bool:
        return False

    def abort(self, connection: Any) -> None:
        # A server that answers no more keeps the connection alive for ever.
        from psycopg import Error

        with contextlib.suppress(OSError, Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)

    def set_lock_timeout(self, connection: Any, seconds: int) -> None:
        connection.execute(f"SET lock_timeout = '{seconds}s'")
        connection.commit()

    def lock(self, conn: Connection, key: int) -> None:
        conn.execute(select(func.pg_advisory_xact_lock(key)))

    def identity_lock(self, identity: ColumnElement[str]) -> ColumnElement[Any]:
        return func.pg_advisory_xact_lock(func.hashtextextended(identity, 0))

    def has_other_attempt(self, conn: Connection, trial_id: int, identity: str) -> bool:
        cursor: Any = conn.connection.cursor()
        found = cursor.execute(_OTHER_ATTEMPT, (identity, trial_id)).fetchone()
        cursor.close()
        return found is not None

    def lock_table(self, conn: Connection, table: Table) -> None:
        conn.execute(sql(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE"))

    def continue_numbering(self, conn: Connection, table: Table) -> None:
        key = table.autoincrement_column
        if key is None:
            return
        named: dict[str, Any] = {"name": table.name, "key": key.name}
        sequence = conn.execute(sql("SELECT pg_get_serial_sequence(:name, :key)"), named).scalar_one()
        if sequence is not None:
            highest = conn.execute(select(func.coalesce(func.max(key), 0))).scalar_one()
            conn.execute(select(func.setval(sequence, highest + 1, False)))

    def version(self, conn: Connection) -> str:
        return f"PostgreSQL {conn.execute(sql('SHOW server_version')).scalar_one()}"

    def integrity_errors(self, conn: Connection) -> Iterator[str]:
        return iter(())

    def read_clock(self, conn: Connection) -> tuple[str, float]:
        return "server", float(conn.execute(select(self.now_term())).scalar_one())

    def now_term(self) -> ColumnElement[float]:
        # Unlike now() it moves within a transaction.
        return cast(func.extract("epoch", func.clock_timestamp()), Double)

    def clock_parameters(self) -> dict[str, Any]:
        return {"p_clock": "server"}

    def insert_ignore(self, table: Table) -> Any:
        return insert(table).on_conflict_do_nothing()

    def insert_rows(
        self, conn: Connection, trial_id: int, series: Mapping[str, Sequence[MetricRow]], *, again: bool
    ) -> None:
        if again or sum(map(len, series.values())) < _COPY_FROM:
            _, *columns = map(list, zip(*metric_tuples(trial_id, series), strict=True))
            conn.exec_driver_sql(_INSERT_AGAIN if again else _INSERT, (trial_id, *columns))
        else:
            _copy(conn, trial_id, series)

    def read_series(
        self, conn: Connection, trial_ids: list[int], names: list[str]
    ) -> Iterator[tuple[int, str, Series, bool]]:
        with _binary_cursor(conn) as cursor:
            cursor.execute(_SERIES, (trial_ids, names))
            for trial_id, name, steps, values, known, kinds in cursor:
                yield trial_id, name, (steps, values), known == len(steps) and not kinds

    def read_prefix(self, conn: Connection, trial_id: int, prefix: str) -> Any:
        return conn.exec_driver_sql(_PREFIX, (trial_id, prefix))

    def mistyped_metrics(self) -> list[ColumnElement[bool]]:
        return []


def libpq_options(url: URL) -> dict[str, str]:
    """Connection options for what the URL leaves open."""
    return {key: value for key, value in _LIBPQ.items() if key not in url.query}


def _timestamp_loader() -> type[Any]:
    """Keep the text of a moment that Python has none for, such as infinity: other rows must stay readable."""
    from psycopg import DataError
    from psycopg.types.datetime import TimestamptzLoader

    class Loader(TimestamptzLoader):
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except DataError:
                return bytes(data).decode()

    return Loader


def _copy(conn: Connection, trial_id: int, series: Mapping[str, Sequence[MetricRow]]) -> None:
    cursor: Any = conn.connection.cursor()
    with cursor, cursor.copy(_COPY) as copy:
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
    value, kind = split_value(row.value)
    if kind is None:
        return pack(">qidi", row.step, 8, value, -1)
    return pack(f">qii{len(kind)}s", row.step, -1, len(kind), kind.encode())


def _binary_cursor(conn: Connection) -> Any:
    """A cursor that makes a NumPy array of an array of numbers at once, not number by number."""
    from psycopg.postgres import types

    cursor: Any = conn.connection.cursor(binary=True)
    for kind, element in _ELEMENTS.items():
        cursor.adapters.register_loader(types[kind].array_oid, _array_loader(element))
    return cursor


def _array_loader(element: list[tuple[str, str]]) -> type[Any]:
    import numpy as np
    from psycopg.adapt import Buffer, Loader
    from psycopg.pq import Format

    class Numbers(Loader):
        format = Format.BINARY

        def load(self, data: Buffer) -> NDArray[Any]:
            numbers = np.frombuffer(data, np.dtype(element), offset=_ARRAY_HEAD)["value"]
            return numbers.astype(numbers.dtype.newbyteorder("="))

    return Numbers
