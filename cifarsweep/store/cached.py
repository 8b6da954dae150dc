"""A store for long watching while workers write: short reads, and no row read twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, event

from cifarsweep.store import fingerprints, status
from cifarsweep.store.database import Database
from cifarsweep.store.leases import Timing
from cifarsweep.store.metrics import Metrics
from cifarsweep.store.records import Series
from cifarsweep.store.store import Store

#: A read that lasts longer is logged: where SQLite has no WAL, it holds up a COMMIT for as long.
SLOW_S = 0.25

_log = logging.getLogger(__name__)


class CachedStore(Store):
    """A store that logs slow reads, and whose metrics are read again only after a write."""

    def __init__(self, db: Database, timing: Timing) -> None:
        super().__init__(db, timing)
        self.metrics: CachedMetrics = CachedMetrics(db)
        self.reads = 0
        event.listen(db.engine, "begin", _begin)
        event.listen(db.engine, "commit", self._end)
        event.listen(db.engine, "rollback", self._end)

    def snapshot(self) -> status.Snapshot:
        """What is under way in all studies."""
        return self._db.read(lambda conn: status.snapshot(conn, self.studies.readable))

    def fingerprints(self) -> dict[str, str]:
        """A text for each study, another one as soon as anything of it has changed."""
        return self._db.read(fingerprints.fingerprints)

    def _end(self, conn: Connection) -> None:
        lasted = time.perf_counter() - conn.info.get("begun", time.perf_counter())
        self.reads += 1
        if lasted > SLOW_S:
            _log.warning("a read of %s took %.2f s", self.shown_url, lasted)


def _begin(conn: Connection) -> None:
    conn.info["begun"] = time.perf_counter()


class CachedMetrics(Metrics):
    """Reads a trial's rows again only after a write for it, each trial in a transaction of its own.

    So the rows of several trials may be of different moments. Rows stay in memory, 16 bytes each.
    """

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._known: dict[tuple[Any, ...], tuple[fingerprints.TrialVersion, Any]] = {}

    def read(
        self, study: str, names: Iterable[str], *, only: Sequence[int] | None = None
    ) -> dict[tuple[int, str], Series]:
        """As `Metrics.read`, from memory where nothing was written since."""
        wanted = tuple(sorted(set(names)))
        read = super().read

        def of_one(number: int) -> dict[tuple[int, str], Series]:
            return read(study, wanted, only=[number])

        found: dict[tuple[int, str], Series] = {}
        for series in self._remembered(study, ("metrics", *wanted), only, of_one):
            found |= series
        return found

    def read_prefix(self, study: str, prefix: str, only: Sequence[int]) -> dict[int, dict[str, float]]:
        """As `Metrics.read_prefix`, from memory where nothing was written since."""
        read = super().read_prefix
        found: dict[int, dict[str, float]] = {}
        for counts in self._remembered(study, ("counts", prefix), only, lambda n: read(study, prefix, [n])):
            found |= counts
        return found

    def _remembered(
        self, study: str, what: tuple[str, ...], only: Sequence[int] | None, read: Callable[[int], Any]
    ) -> Iterable[Any]:
        # The version is read before the rows, so that what comes between is read again.
        versions = self._db.read(lambda conn: fingerprints.trial_versions(conn, study, only))
        for number, version in versions.items():
            known = self._known.get((study, number, what))
            if known is None or known[0] != version:
                known = self._known[study, number, what] = (version, read(number))
            yield known[1]
