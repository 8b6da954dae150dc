"""SQLite: which driver to use, how a file is opened, and what differs from PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Double, Engine, Table, bindparam, create_engine, event, func
from sqlalchemy.dialects.sqlite import insert

from cifarsweep.errors import StoreError, UnreadableStudy
from cifarsweep.files import make_private
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import leases
from cifarsweep.store.columns import metric_tuples
from cifarsweep.store.records import Series
from cifarsweep.store.rows import unreadable_metric
from cifarsweep.store.schema import metric
from cifarsweep.store.sqlite_file import check_file, remove_stub

_BUSY_TIMEOUT_MS = 30_000
#: Bytes that the journal beside a file may keep after a large transaction.
_JOURNAL_BYTES = 1 << 22
_INSERT = "INSERT INTO cs_metric (trial_id, name, step, value, kind) VALUES (?, ?, ?, ?, ?)"
_INSERT_AGAIN = _INSERT + " ON CONFLICT DO NOTHING"
# Ranges of the key, whose rows lie together there in order. A number that the database lacks is 0 at first.
_COUNTS = (
    "SELECT trial_id, name, count(*), count(value), count(kind) FROM cs_metric "
    "WHERE trial_id IN (SELECT value FROM json_each(?)) AND name IN (SELECT value FROM json_each(?)) "
    "GROUP BY trial_id, name ORDER BY trial_id, name"
)
_SERIES = (
    "SELECT step, ifnull(value, 0.0) FROM cs_metric "
    "WHERE trial_id IN (SELECT value FROM json_each(?)) AND name IN (SELECT value FROM json_each(?)) "
    "ORDER BY trial_id, name, step"
)
#: Values in a column of numbers that are none: SQLite stores any.
_NO_NUMBERS = (
    "SELECT trial_id, name, quote(step), quote(value) FROM cs_metric WHERE trial_id IN (SELECT value FROM json_each(?))"
    " AND (typeof(step) <> 'integer' OR typeof(value) NOT IN ('real', 'integer', 'null'))"
)
_PREFIX = "SELECT name, value FROM cs_metric WHERE trial_id = ? AND name >= ? AND name < ?"
_OTHER_ATTEMPT = "SELECT 1 FROM cs_attempt WHERE identity = ? AND trial_id <> ? LIMIT 1"
#: Rows after which SQLite is asked for the next series, and what NumPy makes of a row.
_ROWS, _ROW = 100_000, [("step", "i8"), ("value", "f8")]
#: One series: trial, name, its rows, those with a value, and those with a kind.
_Key = tuple[int, str, int, int, int]


class SqliteBackend:
    """`database.Backend` for SQLite files."""

    file_based = True

    def create_engine(self, url: URL, *, read_only: bool) -> Engine:
        path = Path(str(url.database))
        options = {"module": sqlite_driver(), "hide_parameters": True}
        engine = create_engine(url, creator=lambda: connect_sqlite(path, read_only=read_only), **options)
        self.set_begin(engine)
        return engine

    @contextlib.contextmanager
    def opening(self, url: URL, *, create: bool, read_only: bool) -> Iterator[None]:
        path = Path(str(url.database))
        check_file(path, create=create, read_only=read_only)
        new = not os.path.lexists(path)
        try:
            yield
        except StoreError:
            if new:
                remove_stub(path)
            raise

    def set_begin(self, engine: Engine, *, reading: bool = False) -> None:
        """Take SQLite's write lock at BEGIN: a lock that is taken on the first write may find its view outdated."""
        if reading:
            engine.update_execution_options(cs_reading=True)

        @event.listens_for(engine, "begin")
        def begin(conn: Connection) -> None:
            reading = conn.get_execution_options().get("cs_reading", False)
            conn.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    def transaction_options(self, *, reading: bool) -> dict[str, Any]:
        return {"cs_reading": reading}

    def recover(self, url: URL, error: Exception) -> bool:
        return "readonly database" in str(error) and recover_journal(Path(str(url.database)))

    def abort(self, connection: Any) -> None:
        """Do nothing: no statement on a file waits for a peer."""

    def set_lock_timeout(self, connection: Any, seconds: int) -> None:
        connection.execute(f"PRAGMA busy_timeout = {1000 * seconds}").close()

    def lock(self, conn: Connection, key: int) -> None:
        """Do nothing: BEGIN has taken the write lock."""

    def identity_lock(self, identity: ColumnElement[str]) -> ColumnElement[Any]:
        # BEGIN has taken the write lock.
        return identity

    def has_other_attempt(self, conn: Connection, trial_id: int, identity: str) -> bool:
        cursor: Any = conn.connection.cursor()
        found = cursor.execute(_OTHER_ATTEMPT, (identity, trial_id)).fetchone()
        cursor.close()
        return found is not None

    def lock_table(self, conn: Connection, table: Table) -> None:
        """Do nothing: BEGIN has taken the write lock."""

    def continue_numbering(self, conn: Connection, table: Table) -> None:
        """Do nothing: SQLite goes on after the highest key."""

    def version(self, conn: Connection) -> str:
        version = sqlite_driver().sqlite_version
        journal = "write-ahead log" if safe_wal(sqlite_driver().sqlite_version_info) else "rollback journal"
        return f"SQLite {version} with a {journal}"

    def integrity_errors(self, conn: Connection) -> Iterator[str]:
        for (line,) in conn.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield f"the file is damaged: {line}"
        for table, row_id, parent, _ in conn.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"{table}: row {row_id} belongs to a row of {parent} that is not there"

    def read_clock(self, conn: Connection) -> tuple[str, float]:
        return leases.machine_clock(), leases.machine_now()

    def now_term(self) -> ColumnElement[float]:
        return bindparam("p_now", type_=Double())

    def clock_parameters(self) -> dict[str, Any]:
        return {"p_clock": leases.machine_clock(), "p_now": leases.machine_now()}

    def insert_ignore(self, table: Table) -> Any:
        return insert(table).on_conflict_do_nothing()

    def insert_rows(
        self, conn: Connection, trial_id: int, series: Mapping[str, Sequence[MetricRow]], *, again: bool
    ) -> None:
        conn.exec_driver_sql(_INSERT_AGAIN if again else _INSERT, metric_tuples(trial_id, series))

    def read_prefix(self, conn: Connection, trial_id: int, prefix: str) -> Any:
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return conn.exec_driver_sql(_PREFIX, (trial_id, prefix, after))

    def mistyped_metrics(self) -> list[ColumnElement[bool]]:
        return [
            func.typeof(metric.c.value).not_in(["real", "integer", "null"]),
            func.typeof(metric.c.step) != "integer",
            func.typeof(metric.c.name) != "text",
        ]

    def read_series(
        self, conn: Connection, trial_ids: list[int], names: list[str]
    ) -> Iterator[tuple[int, str, Series, bool]]:
        import numpy as np

        cursor = conn.connection.cursor()
        counts = cursor.execute(_COUNTS, (json.dumps(trial_ids), json.dumps(names))).fetchall()
        for keys in _chunks(counts):
            ids, wanted = sorted({key[0] for key in keys}), sorted({key[1] for key in keys})
            rows = cursor.execute(_SERIES, (json.dumps(ids), json.dumps(wanted)))
            try:
                table = np.fromiter(rows, np.dtype(_ROW), count=sum(key[2] for key in keys))
            except (TypeError, ValueError, OverflowError):
                raise _not_numbers(conn, ids) from None
            steps, values, end = table["step"].copy(), table["value"].copy(), 0
            for trial_id, name, count, known, kinds in keys:
                start, end = end, end + count
                yield trial_id, name, (steps[start:end], values[start:end]), known == count and not kinds
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


def _not_numbers(conn: Connection, trial_ids: list[int]) -> UnreadableStudy:
    found = conn.exec_driver_sql(_NO_NUMBERS, (json.dumps(trial_ids),)).first()
    assert found is not None
    trial_id, name, step, value = found
    return unreadable_metric(conn, trial_id, name, f"step is {step} and value {value}, where both must be numbers")


def safe_wal(version: tuple[int, ...]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug (https://sqlite.org/wal.html#walresetbug)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


@cache
def sqlite_driver() -> Any:
    """Python's own SQLite; or that of the package pysqlite3, where it may use WAL and Python's may not.

    One for the whole process: two copies of the library undo each other's locks on a file
    (https://sqlite.org/howtocorrupt.html#_multiple_copies_of_sqlite_linked_into_the_same_application).
    """
    if not safe_wal(sqlite3.sqlite_version_info):
        with contextlib.suppress(ImportError):
            other = importlib.import_module("pysqlite3.dbapi2")
            if safe_wal(other.sqlite_version_info):
                return other
    return sqlite3


def connect_sqlite(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit, with the safe settings; the caller begins transactions."""
    if not read_only:
        # SQLite gives its journals the mode of the file.
        make_private(Path(os.path.realpath(path)))
    conn = _connect(path, f"?mode={'ro' if read_only else 'rwc'}")
    with closed_on_error(conn):
        if read_only:
            return conn if _readable(conn, path) else _connect_immutable(path, conn)
        _set_up_writer(conn)
    return conn


def _set_up_writer(conn: sqlite3.Connection) -> None:
    # One fsync a commit, or five; PERSIST's come without the work of changing a file's size.
    journal = "WAL" if safe_wal(sqlite_driver().sqlite_version_info) else "PERSIST"
    if _pragma(conn, "journal_mode") != journal.lower():
        try:
            conn.execute(f"PRAGMA journal_mode = {journal}").close()
        except sqlite_driver().OperationalError as error:
            # Leaving or entering WAL needs the file for oneself; while others hold it, their mode goes on.
            if "locked" not in str(error):
                raise
    limit = f"journal_size_limit = {_JOURNAL_BYTES}"
    for setting in ("synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY", limit):
        conn.execute(f"PRAGMA {setting}").close()


def _connect(path: Path, query: str) -> sqlite3.Connection:
    uri = path.as_uri() + query
    settings = {"isolation_level": None, "check_same_thread": False, "cached_statements": 256}
    conn: sqlite3.Connection = sqlite_driver().connect(uri, uri=True, **settings)
    # A text that is no UTF-8 must not block the other rows; `rows` reports it.
    conn.text_factory = _as_text
    with closed_on_error(conn):
        conn.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}").close()
    return conn


def _as_text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


@contextlib.contextmanager
def closed_on_error(conn: Any) -> Iterator[None]:
    """Close a new connection that can't be set up, for its caller never gets it."""
    try:
        yield
    except BaseException:
        conn.close()
        raise


def recover_journal(path: Path) -> bool:
    """Roll back the journal of a killed writer, which a read-only connection may not do.

    Returns False if this user may only read.
    """
    try:
        with contextlib.closing(_connect(path, "?mode=rw")) as conn:
            _pragma(conn, "schema_version")
    except sqlite_driver().OperationalError:
        return False
    return True


def _connect_immutable(path: Path, conn: sqlite3.Connection) -> sqlite3.Connection:
    """Open a file in WAL mode on a read-only medium, which has no room for WAL's index and can't change."""
    real = Path(os.path.realpath(path))
    wal = real.with_name(real.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        return conn
    conn.close()
    return _connect(path, "?mode=ro&immutable=1")


def _readable(conn: sqlite3.Connection, path: Path) -> bool:
    try:
        _pragma(conn, "schema_version")
    except sqlite_driver().OperationalError as error:
        if "unable to open" in str(error):
            return False
        if "readonly database" not in str(error) or not recover_journal(path):
            raise
    return True


def _pragma(conn: sqlite3.Connection, name: str) -> Any:
    return conn.execute(f"PRAGMA {name}").fetchone()[0]
