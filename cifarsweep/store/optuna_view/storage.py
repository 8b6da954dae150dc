"""Optuna's storage in our database, and the locks that let one process at a time write there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, case, false, func, inspect, select

from cifarsweep.store.database import Database
from cifarsweep.store.sqlite import closed_on_error

#: Any number that no other advisory lock has.
_SYNC_LOCK = 0xC1FA_0002
#: Those of Optuna's tables that we read ourselves.
_TABLES = {"studies", "trials", "study_user_attributes"}


class LockHeld(Exception):
    """Another process is syncing."""


def has_tables(conn: Connection) -> bool:
    """Whether Optuna's tables are there. In an SQLite file it makes them one by one, and others see the first ones."""
    return set(inspect(conn).get_table_names()) >= _TABLES


def held_elsewhere(conn: Connection) -> bool:
    """Whether another process is syncing to a PostgreSQL database.

    Every worker asks at each beat, and a connection for Optuna costs the server fifty times as much as a beat. The lock
    is shared and given back at once, so those who ask turn away neither one another nor the next one that syncs.
    """
    if conn.dialect.name != "postgresql":
        return False
    got, back = func.pg_try_advisory_lock_shared(_SYNC_LOCK), func.pg_advisory_unlock_shared(_SYNC_LOCK)
    return not conn.execute(select(case((got, back), else_=false()))).scalar_one()


class OptunaLink:
    """Optuna's storage over connections like ours.

    With `lock`, the first PostgreSQL connection takes the lock, or raises LockHeld, and there is no second one until
    `close`. So when it is cut no write can go past the lock, and Optuna can't repeat one whose answer was lost.
    """

    def __init__(self, db: Database, *, lock: bool) -> None:
        from optuna.storages import RDBStorage, get_storage

        self._db = db
        self.locking = self._connected = False
        address = db.url.render_as_string(hide_password=False)
        engine = {"creator": self._connect, "module": db.engine.dialect.loaded_dbapi}
        self._opened: list[Any] = []
        try:
            self._backend = RDBStorage(address, engine_kwargs=engine)
        except BaseException:
            # The engine that pools them is out of reach.
            for connection in self._opened:
                connection.close()
            raise
        db.backend.set_begin(self._backend.engine, reading=db.read_only)
        if lock:
            # Not before: to read the version of its tables Optuna needs two connections at once.
            self._backend.engine.dispose()
            self.locking = True
        #: What Optuna's functions take as `storage`; it remembers the trials that it has seen.
        self.storage: Any = get_storage(self._backend)

    def close(self) -> None:
        """Close the connections, which frees the lock; the link opens another when it is used again."""
        self._backend.scoped_session.remove()
        if self._connected:
            # At once: a server frees the lock of a closed connection only when it has noticed.
            with contextlib.suppress(self._db.engine.dialect.loaded_dbapi.Error):
                _unlock_session(self._opened[-1])
        self._backend.engine.dispose()
        self._opened.clear()
        self._connected = False

    def _connect(self) -> Any:
        if self.locking and self._connected:
            raise LockHeld
        fairy = self._db.engine.raw_connection()
        connection = fairy.dbapi_connection
        fairy.detach()
        with closed_on_error(connection):
            # Optuna tries five times, and this worker has leases to renew meanwhile.
            self._db.backend.set_lock_timeout(connection, 2)
            if self.locking:
                _lock_session(connection)
                self._connected = True
        self._opened.append(connection)
        return connection


def _lock_session(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (_SYNC_LOCK,))
        locked = cursor.fetchone()[0]
    connection.commit()
    if not locked:
        raise LockHeld


def _unlock_session(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", (_SYNC_LOCK,))
    connection.commit()


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock file beside an SQLite database; the kernel frees it when its holder ends. Raises LockHeld.

    Beside the file and not beside a link to it, so that both names have one lock; with the file's mode, so that whoever
    may write the one may hold the other.
    """
    real = os.path.realpath(path)
    mode = stat.S_IMODE(os.stat(real).st_mode) & 0o666
    handle = os.open(f"{real}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, mode)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from announcing on stderr what it creates and deletes."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
