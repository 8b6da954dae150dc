"""`db backup` and `db restore`: a consistent copy of a database in use, in one SQLite file, and the way back.

The file is itself a database of cifarsweep. Optuna's tables are only copied between SQLite files; from and into
PostgreSQL they are left out, and the next worker copies everything to Optuna again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Table, func, insert, select, update
from sqlalchemy.exc import DBAPIError, StatementError

from cifarsweep.errors import StoreError
from cifarsweep.files import part, private_mode, sync
from cifarsweep.store import migrations, url
from cifarsweep.store.admin import check
from cifarsweep.store.database import Database, Part, backend_of
from cifarsweep.store.driver_errors import as_dbapi_error, is_sqlite, translate
from cifarsweep.store.schema import VERSION_TABLE, metadata, study, trial
from cifarsweep.store.sqlite import connect_sqlite, sqlite_driver
from cifarsweep.store.unreadable_rows import everywhere

#: Rows that are read and written at once.
_BATCH = 10_000


class Admin(Part):
    """Care for the whole database."""

    def check(self) -> list[str]:
        """One sentence for each problem of the database."""
        return check.check(self._db)

    def backup(self, out: Path) -> None:
        """Write a copy of the database's present state to `out`, which appears when it is complete.

        Others go on; without a write-ahead log, SQLite lets their writes wait for the length of the copy. Raises
        StoreError where `out` exists, can't be written, or the copy turns out damaged.
        """
        db = self._db
        try:
            # A dangling link is a name that is taken, too.
            if os.path.lexists(out):
                raise StoreError(f"{out}: exists already; give another name, or delete it")
            if not out.parent.is_dir():
                raise StoreError(f"{out}: its folder does not exist; create it, or give another name")
            # Files that SQLite leaves beside a database stay in this temporary folder.
            with part(out, folder=True, mode=0o700) as folder:
                copy = folder / "copy.db"
                os.close(os.open(copy, os.O_CREAT | os.O_WRONLY, private_mode(out.parent)))
                _copy_file(db, db.path, copy, out) if db.path else _copy_server(db, copy)
                _publish(copy, out)
        except OSError as error:
            raise StoreError(f"{out}: can't be written ({error.strerror}); give another place") from None

    def restore(self, copy: Admin) -> int:
        """Fill this empty database from a backup, wholly or not at all; returns the number of trials.

        Raises StoreError where the file is damaged or this database holds a study.
        """
        origin, db = copy._db, self._db
        with _naming_database(origin, db), _snapshot(origin) as here, db.engine.begin() as there:
            _check_whole(here)
            try:
                return _fill(here, there, db.redacted_url)
            except (StatementError, AttributeError, TypeError, ValueError) as error:
                if isinstance(error, DBAPIError) or (problem := next(everywhere(here), None)) is None:
                    raise
                raise StoreError(f"{origin.redacted_url}: {problem}") from None


def check_backup(file: Path) -> None:
    """Raise StoreError where `file` can't be what `backup` wrote, in words about a file and not about a --db."""
    # Path.is_file raises where a folder may not be entered.
    if not os.path.isfile(file):
        raise StoreError(f"{file}: there is no file that can be read; give one that `cifarsweep db backup` wrote")
    if fault := _fault(file.absolute()):
        advice = "give one that `cifarsweep db backup` wrote"
        raise StoreError(f"{file}: is no backup, or not a whole one ({fault}); {advice}")


def _fault(file: Path) -> str:
    """Why the file is damaged or not ours, as far as a quick check shows; else empty."""
    try:
        with closing(connect_sqlite(file, read_only=True)) as conn:
            tables = conn.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone()[0]
    except sqlite_driver().OperationalError:
        # A lock or a missing permission: opening it reports these.
        return ""
    except sqlite_driver().DatabaseError as error:
        return str(error)
    return "" if tables else "it holds no studies"


def _copy_file(db: Database, path: Path, copy: Path, out: Path) -> None:
    try:
        with (
            closing(connect_sqlite(path, read_only=db.read_only)) as source,
            closing(sqlite_driver().connect(copy)) as target,
        ):
            # All pages in one step: a copy in several begins anew whenever another process writes in between.
            source.backup(target)
    except sqlite_driver().Error as error:
        if "disk is full" in str(error):
            raise StoreError(f"{out}: its disk is full; make room, or give another place") from None
        raise translate(as_dbapi_error(error), db.redacted_url) from None
    with _opened(copy) as made:
        made.read(_check_whole)


def _copy_server(db: Database, copy: Path) -> None:
    with _opened(copy) as made, _naming_database(made, db):
        migrations.upgrade(made)
        with _snapshot(db) as here, made.engine.begin() as there:
            _copy_tables(here, there)


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    with closing(Database(url.parse_url(path))) as db:
        yield db


@contextmanager
def _snapshot(db: Database) -> Iterator[Connection]:
    """One consistent state, however long the reading takes."""
    with db.engine.connect() as conn:
        conn.execution_options(**db.backend.transaction_options(reading=True))
        with conn.begin():
            yield conn


@contextmanager
def _naming_database(file: Database, db: Database) -> Iterator[None]:
    """Name the one of two databases that an error comes from."""
    try:
        yield
    except DBAPIError as error:
        ours = is_sqlite(error) and not db.backend.file_based
        raise translate(error, file.redacted_url if ours else db.redacted_url) from None


def _check_whole(conn: Connection) -> None:
    found = conn.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StoreError(f"the copy is damaged, as its source may be: {found}; look with `cifarsweep db check`")


def _fill(here: Connection, there: Connection, where: str) -> int:
    # A concurrent restore or `create` waits here and finds the rows of the first.
    backend_of(there).lock_table(there, study)
    if there.execute(select(func.count()).select_from(study)).scalar_one():
        raise StoreError(f"{where}: holds studies already; restore into a database without any")
    _copy_tables(here, there)
    return there.execute(select(func.count()).select_from(trial)).scalar_one()


def _copy_tables(here: Connection, there: Connection) -> None:
    for table in metadata.sorted_tables:
        _copy_rows(table, here, there)
        backend_of(there).continue_numbering(there, table)
    # Optuna's own tables may be missing in the copy, so it has none of these trials.
    there.execute(update(trial).values(told=False))


def _copy_rows(table: Table, here: Connection, there: Connection) -> None:
    rows = here.execution_options(yield_per=_BATCH).execute(select(table))
    for batch in rows.mappings().partitions(_BATCH):
        there.execute(insert(table), [dict(row) for row in batch])


def _publish(copy: Path, out: Path) -> None:
    """Give the complete copy its name, durably; a file that appeared meanwhile is not overwritten."""
    sync(copy)
    try:
        os.link(copy, out)
    except FileExistsError:
        raise StoreError(f"{out}: has appeared meanwhile; give another name") from None
    except OSError:
        # Not every file system has links.
        os.rename(copy, out)
    with suppress(OSError):
        sync(out.parent)
