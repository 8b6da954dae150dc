"""Databases: transactions, one more try where a connection was lost, and what every backend provides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from cifarsweep.errors import StudyExists
from cifarsweep.spec.types import MetricRow
from cifarsweep.store.driver_errors import as_dbapi_error, connection_lost, translate
from cifarsweep.store.postgres import PostgresBackend
from cifarsweep.store.records import Series
from cifarsweep.store.sqlite import SqliteBackend
from cifarsweep.store.url import file_of, redacted

T = TypeVar("T")
P = ParamSpec("P")
PartT = TypeVar("PartT", bound="Part")

#: Waits before a transaction is tried again over a new connection.
_RETRY_AFTER_S = (0.05, 0.5)


class Backend(Protocol):
    """What differs between SQLite and PostgreSQL. It has no state: there is one object for each kind."""

    def __hash__(self) -> int: ...

    @property
    def file_based(self) -> bool:
        """Whether databases are files."""

    def create_engine(self, url: URL, *, read_only: bool) -> Engine:
        """An engine whose connections have the safe settings. Raises StoreError where the driver is missing."""

    def opening(self, url: URL, *, create: bool, read_only: bool) -> AbstractContextManager[None]:
        """Check the file first, and remove an empty one that was made if opening fails. Raises StoreError."""

    def set_begin(self, engine: Engine, *, reading: bool = False) -> None:
        """Begin the engine's transactions as this database needs it."""

    def transaction_options(self, *, reading: bool) -> Mapping[str, Any]:
        """Execution options of a transaction."""

    def recover(self, url: URL, error: Exception) -> bool:
        """Repair what made a read fail; False if nothing was repaired."""

    def abort(self, connection: Any) -> None:
        """Cut a driver's connection, from another thread."""

    def set_lock_timeout(self, connection: Any, seconds: int) -> None:
        """Limit how long the statements of a driver's connection wait for locks."""

    def lock(self, conn: Connection, key: int) -> None:
        """Hold an advisory lock until the transaction ends."""

    def identity_lock(self, identity: ColumnElement[str]) -> ColumnElement[Any]:
        """A term that holds a lock on an identity until the transaction ends; on none where it is NULL."""

    def has_other_attempt(self, conn: Connection, trial_id: int, identity: str) -> bool:
        """Whether another trial has an attempt with that identity: every claim asks it."""

    def lock_table(self, conn: Connection, table: Table) -> None:
        """Keep other transactions from writing to the table."""

    def continue_numbering(self, conn: Connection, table: Table) -> None:
        """Number new rows after those that were inserted with their numbers."""

    def version(self, conn: Connection) -> str:
        """Name and version of the database software."""

    def integrity_errors(self, conn: Connection) -> Iterator[str]:
        """One sentence for each damage of the file."""

    def read_clock(self, conn: Connection) -> tuple[str, float]:
        """Name and seconds of the clock for leases.

        Call it inside the transaction: SQLite may have waited for its lock, and a moment from before that is stale.
        """

    def now_term(self) -> ColumnElement[float]:
        """Now, as a term of a prepared statement. PostgreSQL's own clock saves a round trip."""

    def clock_parameters(self) -> dict[str, Any]:
        """The values for `now_term` and `leases.clock_term`, inside the transaction as with `read_clock`."""

    def insert_ignore(self, table: Table) -> Any:
        """An INSERT that leaves rows alone that are there already."""

    def insert_rows(
        self, conn: Connection, trial_id: int, series: Mapping[str, Sequence[MetricRow]], *, again: bool
    ) -> None:
        """Add metric rows, by name in order; `again` skips those that are there already."""

    def read_series(
        self, conn: Connection, trial_ids: list[int], names: list[str]
    ) -> Iterator[tuple[int, str, Series, bool]]:
        """Trial, name and rows of each series; False where values are missing that columns can't hold."""

    def read_prefix(self, conn: Connection, trial_id: int, prefix: str) -> Any:
        """Name and value of a trial's metrics whose names begin with the prefix."""

    def mistyped_metrics(self) -> list[ColumnElement[bool]]:
        """Conditions for metric rows with values of a wrong type."""


_BACKENDS: Mapping[str, Backend] = {"sqlite": SqliteBackend(), "postgresql": PostgresBackend()}


def backend_of(owner: Connection | URL) -> Backend:
    """The backend of a connection or URL."""
    return _BACKENDS[owner.get_backend_name() if isinstance(owner, URL) else owner.dialect.name]


class Database:
    """An engine with its transactions. Safe to share between threads, not between processes."""

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.url = url
        self.redacted_url = redacted(url)
        self.path: Path | None = file_of(url)
        self.read_only = read_only
        self.backend = backend_of(url)
        self.engine = self.backend.create_engine(url, read_only=read_only)
        self._driver_error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self._in_use: set[Any] = set()
        self._closed = False
        event.listen(self.engine, "checkout", lambda connection, *_: self._in_use.add(connection))
        event.listen(self.engine, "checkin", self._returned)

    def ping(self) -> None:
        """Connect once, without a retry. Raises StoreUnavailable or StoreError."""
        try:
            self.engine.connect().close()
        except DBAPIError as error:
            raise translate(error, self.redacted_url) from None

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
        """Close every connection; one in use closes when its thread gives it back."""
        self._closed = True
        self.engine.dispose()

    def _returned(self, connection: Any, record: ConnectionPoolEntry) -> None:
        self._in_use.discard(connection)
        if self._closed:
            # It goes back to a pool that is closed.
            record.invalidate()

    def abort_connections(self) -> None:
        """Cut the connections in use, from another thread; a file has none that could hang.

        A call that waits for an answer is tried again over a new connection, then raises StoreUnavailable.
        """
        for connection in list(self._in_use):
            self.backend.abort(connection)

    def _run(self, work: Callable[[Connection], T], *, reading: bool) -> T:
        waits, recovered = iter(_RETRY_AFTER_S), False
        while True:
            try:
                with self.engine.connect() as conn:
                    conn.execution_options(**self.backend.transaction_options(reading=reading))
                    with conn.begin():
                        return work(conn)
            except (DBAPIError, PoolTimeout, self._driver_error) as error:
                fault = as_dbapi_error(error)
                if reading and not recovered:
                    recovered = self.backend.recover(self.url, error)
                    if recovered:
                        continue
                wait = next(waits, None) if connection_lost(fault) else None
                if wait is None:
                    raise translate(fault, self.redacted_url) from None
            time.sleep(wait)


class Part:
    """A part of the store. Its methods with a connection are one transaction each, by `reading` or `writing`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _change(self, work: Callable[[Connection], T], size: Callable[[T], int]) -> T:
        """Write, and return the largest answer: a retry after a lost answer to COMMIT changes nothing any more."""
        answers: list[T] = []

        def change(conn: Connection) -> None:
            try:
                answers.append(work(conn))
            except StudyExists:
                if not answers:
                    raise

        self._db.write(change)
        return max(answers, key=size)


def reading(method: Callable[Concatenate[PartT, Connection, P], T]) -> Callable[Concatenate[PartT, P], T]:
    """Run a method on one consistent state; callers leave out its connection."""

    @wraps(method)
    def call(self: PartT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._db.read(lambda conn: method(self, conn, *args, **kwargs))

    return call


def writing(method: Callable[Concatenate[PartT, Connection, P], T]) -> Callable[Concatenate[PartT, P], T]:
    """Run a method in a transaction that writes; it runs again where the connection was lost."""

    @wraps(method)
    def call(self: PartT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._db.write(lambda conn: method(self, conn, *args, **kwargs))

    return call
