"""The store as other rooms see it: one object with a part for each task, plain records in and out."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from cifarsweep.errors import StoreError
from cifarsweep.store import migrations
from cifarsweep.store.admin.backup import Admin, check_backup
from cifarsweep.store.database import Database, backend_of
from cifarsweep.store.driver_errors import as_permanent
from cifarsweep.store.leases import Timing
from cifarsweep.store.metrics import Metrics
from cifarsweep.store.notes import Notes
from cifarsweep.store.notices import Notices
from cifarsweep.store.optuna_view.outbox import unsynced
from cifarsweep.store.optuna_view.projection import Projection
from cifarsweep.store.queue.control import Control
from cifarsweep.store.queue.queue import Queue
from cifarsweep.store.search import Search
from cifarsweep.store.studies import Studies
from cifarsweep.store.trials import Trials
from cifarsweep.store.url import parse_url


class Store:
    """A database of studies. Safe to share between threads; another process opens its own.

    Every method raises StoreUnavailable where the database is away or busy, after a few tries of its own.
    """

    def __init__(self, db: Database, timing: Timing) -> None:
        self._db = db
        self._projection = Projection(db)
        self.timing = timing
        self.upgraded_from: str | None = None
        """The older version that the database was of when it was opened here."""
        self.queue = Queue(db, timing)
        self.studies = Studies(db)
        self.metrics = Metrics(db)
        self.trials = Trials(db)
        self.control = Control(db)
        self.search = Search(db)
        self.notes = Notes(db)
        self.notices = Notices(db)
        self.admin = Admin(db)

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        upgrade: bool = False,
        create: bool = True,
        read_only: bool = False,
        older: bool = False,
        known: bool = False,
        timing: Timing | None = None,
    ) -> Self:
        """Open the database at `url`, or the SQLite file of that path; `upgrade` creates or upgrades its tables.

        Without `create` there must be some. Raises StoreError where it is not there, not ours, of another version,
        read-only or out of reach; where it is `known` to exist, StoreUnavailable says that it is out of reach for now.
        With `older`, an SQLite file may be of an earlier version, for `backup` and nothing else.
        """
        parsed = parse_url(url)
        timing = timing or Timing.from_env()
        with backend_of(parsed).opening(parsed, create=upgrade and create, read_only=read_only):
            db, before = Database(parsed, read_only=read_only), None
            try:
                db.ping()
                if upgrade:
                    before = migrations.upgrade(db, create=create)
                    if not db.backend.file_based:
                        # Workers need no right to create tables there, so Optuna's must be there before them.
                        Projection(db).prepare()
                else:
                    migrations.check_version(db, older=older)
            except StoreError as error:
                db.close()
                raise error if known else as_permanent(error) from None
            except BaseException:
                db.close()
                raise
        store = cls(db, timing)
        store.upgraded_from = before
        return store

    @classmethod
    def open_backup(cls, file: Path) -> Self:
        """Open what `backup` wrote, to restore from it. Raises StoreError, of the file and not of a --db."""
        check_backup(file)
        return cls.open(file, read_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._projection.close()
        self._db.close()

    def close_when_unused(self) -> None:
        """Close every connection when the store is garbage-collected."""
        weakref.finalize(self, self._db.close)

    def abort_connections(self) -> None:
        """Cut the connections in use, from another thread; calls on them are retried or raise StoreUnavailable."""
        self._db.abort_connections()

    @property
    def shown_url(self) -> str:
        """Where the database is, without its password."""
        return self._db.redacted_url

    def sync_optuna(self, limit: int = 100) -> int:
        """Copy at most `limit` final trials to Optuna that it does not have yet; returns how many.

        It raises nothing: while another process syncs or the database is busy, it returns
        0 and the trials stay for the next call.
        """
        return self._projection.sync(limit)

    @property
    def sync_failing(self) -> bool:
        """Whether syncing fails for a reason that waiting does not mend; it was logged."""
        return self._projection.failing

    def unsynced(self) -> int:
        """Final trials that Optuna does not have yet."""
        return self._db.read(unsynced)
