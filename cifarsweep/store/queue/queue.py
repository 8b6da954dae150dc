"""The queue as workers use it: claim trials, write for them, end them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, func, null, select

from cifarsweep.errors import StudyRefused
from cifarsweep.spec.types import FINAL_STATES, CheckpointRef, MetricRow, TrialResult, TrialState
from cifarsweep.store import rows as rows_of
from cifarsweep.store import search, study_data
from cifarsweep.store.database import Database, reading, writing
from cifarsweep.store.digests import RowsDigest
from cifarsweep.store.leases import Timing
from cifarsweep.store.queue import claim, fence, twins
from cifarsweep.store.queue.branches import Branches
from cifarsweep.store.queue.crashes import Crashes
from cifarsweep.store.queue.expiry import mark_expired
from cifarsweep.store.queue.workers import Workers
from cifarsweep.store.records import ClaimRequest, Environment, Identify, Lease
from cifarsweep.store.schema import study, trial
from cifarsweep.store.status import points_to_ask
from cifarsweep.store.study_rows import CellCache, study_id

T = TypeVar("T")
Claimed: TypeAlias = "Lease | claim.PutBack | None"
#: Seconds after which a trial that could not be read is tried again: it may have been mended.
_SKIP_S = 60.0
_NONE: Mapping[int, bool] = MappingProxyType({})
_OPEN_STATES = [state for state in TrialState if state not in FINAL_STATES]


class Queue(Branches, Workers, Crashes):
    """The queue of trials: claim them, write for them, end them."""

    def __init__(self, db: Database, timing: Timing) -> None:
        super().__init__(db, timing)
        self._cells = CellCache()
        self._skipped: dict[int, str] = {}
        self._skipped_until = 0.0
        #: Whether the last claim of this process checked all leases: then no other process has claimed for a second.
        self.checked_leases = False

    @property
    def skipped(self) -> list[str]:
        """A sentence for each trial that is free and can't be read, so that this process does not take it."""
        return list(self._skipped.values())

    def claim(
        self,
        worker_id: str,
        *,
        studies: Sequence[str] | None = None,
        slot: int | None = None,
        environment: Environment | None = None,
        identify: Identify | None = None,
    ) -> Lease | None:
        """Take the next trial of the named studies, or of all, for a slot of the worker; None where none is due now.

        Trials of workers that vanished come first, put back to their newest checkpoint. Raises StudyRefused where the
        trial is of a study whose trials train on other images than those of the worker's `environment`.

        With `identify`, a trial may wait for its source or for its twin, another trial with its identity, and the lease
        names a twin that is done.
        """
        return self._claim_all(ClaimRequest(worker_id, studies, slot, environment, identify))

    def finish(
        self,
        lease: Lease,
        rows: Sequence[MetricRow],
        checkpoint: CheckpointRef | None,
        result: TrialResult,
        request: ClaimRequest | None = None,
        decisions: Mapping[int, bool] = _NONE,
        written: RowsDigest | None = None,
    ) -> Lease | None:
        """End a trial that is done, whatever its outcome; `request` claims the next one in the same transaction.

        Returns what `claim` would. After StoreUnavailable, call it again with the same request: a trial that was taken
        in spite of the error is found again. After LeaseLost nothing was taken. Where the study of the next trial
        refuses the worker's images, returns None, and `claim` says so.

        `written` is the digest of all rows that the trial has, where the caller knows them all.
        """

        def end(conn: Connection) -> bool:
            first_time = fence.finish(conn, lease, rows, checkpoint, result, written)
            search.record(conn, lease.trial_id, decisions)
            return first_time

        return self._end(end, request)

    def reuse(self, lease: Lease, request: ClaimRequest | None = None) -> Lease | None:
        """End a trial with the rows and the result of `lease.twin`, as `finish` does.

        Raises SourceChanged, and leaves the trial, where those are not what they were when the twin ended: nobody is to
        take it any more, and the error names another one.
        """
        try:
            return self._end(lambda conn: twins.reuse(conn, lease), request)
        except twins.SourceChanged as error:
            error.other = self._db.write(lambda conn: twins.reject(conn, lease))
            raise

    def _end(self, end: Callable[[Connection], bool], request: ClaimRequest | None) -> Lease | None:
        """End a trial and claim the next one; `end` returns False if it was ended before."""

        def work(conn: Connection) -> Claimed:
            first_time = end(conn)
            return None if request is None else self._claim(conn, request, again=not first_time)

        try:
            found = self._claiming(work)
            if not isinstance(found, claim.PutBack):
                return found
            assert request is not None
            return self._claim_all(request)
        except StudyRefused:
            # The end was rolled back with the claim.
            self._db.write(end)
            return None

    @reading
    def refused(self, conn: Connection, data: Mapping[str, Mapping[str, str]]) -> dict[str, StudyRefused]:
        """Of the studies given with the digests of a worker's data sets, those that train on other images."""
        return study_data.refused(conn, data)

    def _claim_all(self, request: ClaimRequest) -> Lease | None:
        """Claim until a trial need not wait for another one, in a transaction each."""
        while True:
            asked = False

            def work(conn: Connection) -> Claimed:
                nonlocal asked
                again, asked = asked, True
                return self._claim(conn, request, again=again)

            found = self._claiming(work)
            if not isinstance(found, claim.PutBack):
                return found

    def _claim(self, conn: Connection, request: ClaimRequest, *, again: bool) -> Claimed:
        lease_s = self._timing.lease_s
        self.checked_leases = mark_expired(conn, lease_s)
        return claim.claim(conn, self._cells, request, lease_s, skipped=self._skipped, again=again)

    @writing
    def check_leases(self, conn: Connection) -> None:
        """Check all leases as a claim does, for one who has nothing to claim from."""
        self.checked_leases = mark_expired(conn, self._timing.lease_s)

    def _claiming(self, work: Callable[[Connection], T]) -> T:
        """Write, and try again without a trial that can't be read: the others can be trained."""
        if self._skipped and time.monotonic() > self._skipped_until:
            self._skipped.clear()
        while True:
            try:
                return self._db.write(work)
            except claim.UnreadableTrial as error:
                self._skipped_until = time.monotonic() + _SKIP_S
                self._skipped[error.trial_id] = str(error)

    @reading
    def has_unfinished(
        self, conn: Connection, studies: Sequence[str] | None = None, *, queued_only: bool = False
    ) -> bool:
        """Whether a trial is queued or leased, of the named studies or of all, but for those that were `skipped`.

        With `queued_only` those that a worker trains do not count. Idle workers ask it at each poll, so it looks at a
        trial or two of a study, however many there are.
        """
        states = (TrialState.QUEUED,) if queued_only else (TrialState.QUEUED, TrialState.LEASED)
        skipped = [trial.c.trial_id.not_in(self._skipped)] if self._skipped else []
        query = select(study.c.study_id).where(_first_trial(states, *skipped).is_not(None)).limit(1)
        query = query if studies is None else query.where(study.c.name.in_(studies))
        return conn.execute(query).first() is not None

    @reading
    def studies_left(self, conn: Connection, asked: Sequence[str] = ()) -> list[str]:
        """The studies that have trials that are not final, or points to ask for.

        Of those asked for, in their order, or of all, oldest first. Every worker asks it at each poll, so it looks at a
        trial or two of a study, however many there are. Raises UnknownStudy.
        """
        query = select(
            study.c.name, study.c.points, study.c.asked, study.c.wish, _first_trial(_OPEN_STATES).label("open")
        )
        if asked:
            query = query.where(study.c.study_id.in_([study_id(conn, name) for name in asked]))
        found = conn.execute(query.order_by(study.c.study_id)).all()
        left = [rows_of.as_name(row.name) for row in found if row.open is not None or points_to_ask(row)]
        return [name for name in asked if name in left] if asked else left


def _first_trial(states: Iterable[TrialState], *conditions: ColumnElement[bool]) -> ColumnElement[int | None]:
    """A trial of the study in one of the states; NULL if there is none.

    Each state is looked up by itself, in the order of the index: else PostgreSQL may read all trials.
    """
    order = trial.c.rank, trial.c.waiting_steps.desc(), trial.c.trial_id
    found = (
        select(trial.c.trial_id)
        .where(trial.c.study_id == study.c.study_id, trial.c.state == state.value, *conditions)
        .order_by(*order)
        .limit(1)
        .correlate(study)
        .scalar_subquery()
        for state in states
    )
    # SQLite wants two of them at least.
    return func.coalesce(*found, null())
