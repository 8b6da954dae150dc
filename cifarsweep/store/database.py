"""Opens databases: engines, transactions, and one more try where a connection was lost."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from cifarsweep.errors import StoreError, install_command
from cifarsweep.files import make_private
from cifarsweep.store.driver_errors import connection_lost, translate, wrapped
from cifarsweep.store.url import shown

T = TypeVar("T")

_BUSY_TIMEOUT_MS = 30_000
#: What the journal beside an SQLite file may keep of its size after a large transaction.
_JOURNAL_BYTES = 1 << 22
#: Waits before a transaction is tried again over a new connection.
_RETRY_AFTER_S = (0.05, 0.5)
#: Sent to every PostgreSQL session: a stuck client must not hold locks, a stuck server must not hold a worker.
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


class Database:
    """An engine with its transactions. Safe to share between threads, not between processes."""

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.url = url
        self.shown = shown(url)
        self.read_only = read_only
        self.engine = _sqlite_engine(url, read_only) if self.path else _postgres_engine(url, read_only)
        self._driver_error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self._in_use: set[Any] = set()
        self._closed = False
        event.listen(self.engine, "checkout", lambda connection, *_: self._in_use.add(connection))
        event.listen(self.engine, "checkin", self._returned)

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database."""
        sqlite = self.url.get_backend_name() == "sqlite"
        return Path(str(self.url.database)) if sqlite else None

    def first_contact(self) -> None:
        """Connect once, without patience. Raises StoreUnavailable or StoreError."""
        try:
            self.engine.connect().close()
        except DBAPIError as error:
            raise translate(error, self.shown) from None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and commit it.

        Where the connection was lost, even in COMMIT, it runs again: `work` must notice that it has happened already.
        Raises StoreUnavailable or StoreError.
        """
        return self._run(work, reading=False)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent state, without hindering writers. Raises StoreUnavailable or StoreError."""
        return self._run(work, reading=True)

    def close(self) -> None:
        """Close every connection; those that other threads are using when they are done with them."""
        self._closed = True
        self.engine.dispose()

    def _returned(self, connection: Any, record: ConnectionPoolEntry) -> None:
        self._in_use.discard(connection)
        if self._closed:
            # The pool that it goes back to is nobody's any more.
            record.invalidate()

    def hang_up(self) -> None:
        """Cut the connections in use, from another thread: a server that answers no more keeps them alive for ever.

        Whoever waits for an answer gets StoreUnavailable, after the tries over a new connection. Nothing on SQLite.
        """
        for connection in () if self.path else list(self._in_use):
            with (
                contextlib.suppress(OSError, self._driver_error),
                socket.socket(fileno=os.dup(connection.fileno())) as end,
            ):
                end.shutdown(socket.SHUT_RDWR)

    def _options(self, reading: bool) -> dict[str, Any]:
        if self.path:
            return {"cs_reading": reading}
        return {"isolation_level": "REPEATABLE READ"} if reading else {}

    def _run(self, work: Callable[[Connection], T], *, reading: bool) -> T:
        waits, in_order = iter(_RETRY_AFTER_S), False
        while True:
            try:
                with self.engine.connect() as conn:
                    conn.execution_options(**self._options(reading))
                    with conn.begin():
                        return work(conn)
            except (DBAPIError, PoolTimeout, self._driver_error) as error:
                fault = wrapped(error)
                if reading and self.path and not in_order and "readonly database" in str(error):
                    in_order = put_in_order(self.path)
                    if in_order:
                        continue
                wait = next(waits, None) if connection_lost(fault) else None
                if wait is None:
                    raise translate(fault, self.shown) from None
            time.sleep(wait)


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
    """A connection in autocommit, with the safe settings; whoever uses it begins its transactions itself."""
    if not read_only:
        # SQLite gives its journals the mode of the file.
        make_private(Path(os.path.realpath(path)))
    conn = _connect(path, f"?mode={'ro' if read_only else 'rwc'}")
    with closed_on_error(conn):
        if read_only:
            return conn if _readable(conn, path) else _connect_frozen(path, conn)
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
    # One text that is no UTF-8 must not keep all others from being read; `rows` complains of it.
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


def remove_stub(path: Path) -> None:
    """Remove a file that was to become a database and holds nothing, as where its disk is full.

    SQLite refuses to write where the file of an open connection is gone, so nobody else loses what he writes to it.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            for suffix in ("", "-journal", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)


def put_in_order(path: Path) -> bool:
    """Undo what a writer left half done that was killed, for which a look that only reads has no right.

    Returns whether it could be: not where this user may only read.
    """
    try:
        with contextlib.closing(_connect(path, "?mode=rw")) as conn:
            _pragma(conn, "schema_version")
    except sqlite_driver().OperationalError:
        return False
    return True


def _connect_frozen(path: Path, conn: sqlite3.Connection) -> sqlite3.Connection:
    """A file in WAL mode on a medium that nobody can write has no room for WAL's index; nobody changes it either."""
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
        if "readonly database" not in str(error) or not put_in_order(path):
            raise
    return True


def _pragma(conn: sqlite3.Connection, name: str) -> Any:
    return conn.execute(f"PRAGMA {name}").fetchone()[0]


def begin_immediately(engine: Engine, *, reading: bool = False) -> None:
    """Take SQLite's write lock at BEGIN: one that is taken later, on the first write, may find its view outdated."""
    if reading:
        engine.update_execution_options(cs_reading=True)

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        reading = conn.get_execution_options().get("cs_reading", False)
        conn.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _sqlite_engine(url: URL, read_only: bool) -> Engine:
    path = Path(str(url.database))
    options = {"module": sqlite_driver(), "hide_parameters": True}
    engine = create_engine(url, creator=lambda: connect_sqlite(path, read_only=read_only), **options)
    begin_immediately(engine)
    return engine


def libpq_options(url: URL) -> dict[str, str]:
    """Connection options for what the URL leaves open."""
    return {key: value for key, value in _LIBPQ.items() if key not in url.query}


def _postgres_engine(url: URL, read_only: bool) -> Engine:
    try:
        engine = create_engine(
            url, isolation_level="READ COMMITTED", connect_args=libpq_options(url), hide_parameters=True
        )
    except ModuleNotFoundError:
        raise StoreError(f"PostgreSQL needs one more package: {install_command('postgres')}") from None
    settings = (*_SESSION, "SET default_transaction_read_only = on") if read_only else _SESSION

    moments = _lenient_moments()

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.adapters.register_loader("timestamptz", moments)
        with connection.cursor() as cursor:
            for setting in settings:
                cursor.execute(setting)
        connection.commit()

    return engine


def _lenient_moments() -> type[Any]:
    """Of a moment that Python has none for, such as infinity, the text: it must not keep other rows from being read."""
    from psycopg import DataError
    from psycopg.types.datetime import TimestamptzLoader

    class Moments(TimestamptzLoader):
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except DataError:
                return bytes(data).decode()

    return Moments
