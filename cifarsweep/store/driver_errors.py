"""Converts errors of database drivers into ours, without parameters, statements and passwords."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cifarsweep.errors import DiskFull, RowConflict, StoreError, StoreUnavailable

#: Messages of SQLite, and the class of the error: StoreUnavailable where waiting may help.
_SQLITE: Mapping[str, tuple[type[StoreError], str]] = {
    "database is locked": (StoreUnavailable, "another process has held its lock for too long; try again"),
    "database table is locked": (StoreUnavailable, "another process has held its lock for too long; try again"),
    "disk i/o error": (StoreUnavailable, "reading or writing failed; look at the disk"),
    "disk is full": (DiskFull, "the disk is full; what was committed is safe, make room and go on"),
    "unable to open database file": (StoreUnavailable, "it can't be opened; look at the path and its permissions"),
    "readonly database": (
        StoreError,
        "it is read-only, or a killed writer left a journal, which any command of its owner rolls back",
    ),
    "not a database": (StoreError, "it is not a database; give another --db"),
    "malformed": (StoreError, "it is damaged; restore it from a backup"),
}
#: Transient errors of PostgreSQL, by class or code
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_TRANSIENT = ("08", "53", "57", "40", "55P03", "25P03", "58")
_DISK_FULL = "53100"
#: What a server puts before its reason to reject a connection.
_REFUSAL = "FATAL:"


def as_dbapi_error(error: Exception) -> DBAPIError | PoolTimeout:
    """The error of SQLAlchemy for an error of a driver."""
    if isinstance(error, DBAPIError | PoolTimeout):
        return error
    names = {base.__name__ for base in type(error).__mro__}
    # Every driver has the classes of PEP 249, by these names.
    kind = OperationalError if "OperationalError" in names else DBAPIError
    return kind(None, None, error)


def connection_lost(error: DBAPIError | PoolTimeout) -> bool:
    """Whether a retry over a new connection may work: the connection broke, or lost a deadlock."""
    if isinstance(error, PoolTimeout):
        return False
    if is_sqlite(error) or not isinstance(error, OperationalError | InterfaceError):
        return error.connection_invalidated
    return (_sqlstate(error) or "08").startswith(("08", "57P", "40"))


def translate(error: DBAPIError | PoolTimeout, where: str) -> StoreError:
    """A sentence for the error; StoreUnavailable where trying again later may help."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(f"{where}: all connections are busy; try again")
    if isinstance(error, IntegrityError):
        return RowConflict(f"{where}: {_first_line(error)}; look with `cifarsweep db check`")
    if is_sqlite(error):
        return _of_sqlite(error, where)
    state = _sqlstate(error)
    text = _first_line(error)
    if state == "42501":
        return StoreError(f"{where}: {text}; ask its owner to grant the right")
    if state == _DISK_FULL:
        return DiskFull(f"{where}: the disk of the server is full ({text}); make room and go on")
    if state == "25006":
        return StoreError(f"{where}: is read-only; give a --db that can be written")
    refusal = text.partition(_REFUSAL)[2].strip()
    if state is None and refusal:
        # A wrong password, or a server that starts up or is full: only the text tells which.
        return StoreUnavailable(f"{where}: the server refuses: {refusal}")
    away = state is None and isinstance(error, OperationalError | InterfaceError)
    if away or (state or "").startswith(_TRANSIENT):
        return StoreUnavailable(f"{where}: can't be reached or is busy: {text}")
    return StoreError(f"{where}: {text}")


def as_permanent(error: StoreError) -> StoreError:
    """The same sentence as a permanent error: at the first connection, nothing promises that waiting helps.

    A disk that is full stays what it is: the place was right, and room can be made.
    """
    return error if isinstance(error, DiskFull) else StoreError(str(error))


def _of_sqlite(error: DBAPIError, where: str) -> StoreError:
    text = _first_line(error)
    for sign, (kind, sentence) in _SQLITE.items():
        if sign in text.lower():
            return kind(f"{where}: {sentence}")
    return StoreError(f"{where}: {text}")


def is_sqlite(error: DBAPIError) -> bool:
    """Whether the error comes from an SQLite file."""
    return type(error.orig).__module__ in ("sqlite3", "pysqlite3.dbapi2")


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
