"""The queue as workers use it: claim trials, write for them, end them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, case, func, select

from cifarsweep.errors import StudyRefused
from cifarsweep.spec.types import AttemptEnd, CheckpointRef, MetricRow, TrialResult, TrialState
from cifarsweep.store import search, study_data
from cifarsweep.store.database import Database, Part, backend_of, reading, writing
from cifarsweep.store.leases import Timing
from cifarsweep.store.queue import claim, crashes, fence, workers
from cifarsweep.store.queue.cells import CellCache
from cifarsweep.store.queue.crashes import Crash
from cifarsweep.store.records import ClaimRequest, Environment, Lease, WorkerInfo
from cifarsweep.store.schema import trial

T = TypeVar("T")
#: Seconds after which a trial that could not be read is tried again: it may have been mended.
_SKIP_S = 60.0
_NONE: Mapping[int, bool] = MappingProxyType({})


class Queue(Part):
    """The queue of trials. A method that takes a lease raises LeaseLost where another worker has the trial by now."""

    def __init__(self, db: Database, timing: Timing) -> None:
        super().__init__(db)
        self._timing = timing
        self._cells = CellCache()
        self._skipped: dict[int, str] = {}
        self._skipped_until = 0.0

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
    ) -> Lease | None:
        """Take the next trial of the named studies, or of all, for a slot of the worker; None where none is due now.

        Trials of workers that vanished come first, put back to their newest checkpoint. Raises StudyRefused where the
        trial is of a study whose trials train on other images than those of the worker's `environment`.
        """
        request = ClaimRequest(worker_id, studies, slot, environment)
        asked = False

        def work(conn: Connection) -> Lease | None:
            nonlocal asked
            again, asked = asked, True
            return self._claim(conn, request, again=again)

        return self._claiming(work)

    def write(
        self,
        lease: Lease,
        rows: Sequence[MetricRow],
        checkpoint: CheckpointRef | None = None,
        decisions: Mapping[int, bool] = _NONE,
    ) -> Lease:
        """Record rows and a checkpoint in one transaction, and renew the lease; no rows is a plain heartbeat.

        `decisions` say for steps that were evaluated whether the trial ends there, where its study may end it early.
        Returns the lease to go on with. After StoreUnavailable, write again with the old one, with the same rows or
        more: what had been committed in spite of the error is not written twice. Raises LeaseLost.
        """

        def work(conn: Connection) -> Lease:
            renewed = fence.write(conn, lease, rows, checkpoint)
            search.record(conn, lease.trial_id, decisions)
            return renewed

        return self._db.write(work)

    @writing
    def rewind(self, conn: Connection, lease: Lease, step: int) -> Lease:
        """Forget rows and checkpoints after `step`, as when a checkpoint turned out broken."""
        return fence.rewind(conn, lease, step)

    def finish(
        self,
        lease: Lease,
        rows: Sequence[MetricRow],
        checkpoint: CheckpointRef | None,
        result: TrialResult,
        request: ClaimRequest | None = None,
        decisions: Mapping[int, bool] = _NONE,
    ) -> Lease | None:
        """End a trial that is done, whatever its outcome; `request` claims the next one in the same transaction.

        Returns what `claim` would. After StoreUnavailable, call it again with the same request: a trial that was taken
        in spite of the error is found again. After LeaseLost nothing was taken. Where the study of the next trial
        refuses the worker's images, returns None, and `claim` says so.
        """

        def end(conn: Connection) -> bool:
            first_time = fence.finish(conn, lease, rows, checkpoint, result)
            search.record(conn, lease.trial_id, decisions)
            return first_time

        def work(conn: Connection) -> Lease | None:
            first_time = end(conn)
            return None if request is None else self._claim(conn, request, again=not first_time)

        try:
            return self._claiming(work)
        except StudyRefused:
            # The end was rolled back with the claim.
            self._db.write(end)
            return None

    @reading
    def refused(self, conn: Connection, data: Mapping[str, Mapping[str, str]]) -> dict[str, StudyRefused]:
        """Of the studies given with the digests of a worker's data sets, those that train on other images."""
        return study_data.refused(conn, data)

    @writing
    def fail(
        self,
        conn: Connection,
        lease: Lease,
        end: AttemptEnd,
        error: str,
        traceback: str,
        rows: Sequence[MetricRow] = (),
        checkpoint: CheckpointRef | None = None,
    ) -> TrialState:
        """End an attempt by EXCEPTION, OUT_OF_MEMORY or CRASHED; what it reached stands.

        Returns the trial's state: queued for another try after a while, or failed or poisoned for good.
        """
        return fence.fail(conn, lease, end, error, traceback, rows, checkpoint, self._timing)

    @writing
    def release(
        self, conn: Connection, lease: Lease, rows: Sequence[MetricRow], checkpoint: CheckpointRef | None
    ) -> None:
        """Give the trial back, as on Ctrl-C; the next worker goes on from the newest checkpoint."""
        fence.release(conn, lease, rows, checkpoint)

    def _claim(self, conn: Connection, request: ClaimRequest, *, again: bool) -> Lease | None:
        return claim.claim(conn, self._cells, request, self._timing.lease_s, skipped=self._skipped, again=again)

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
    def crashes_only_on(self, conn: Connection, worker_id: str, found: Sequence[Crash]) -> list[Crash]:
        """Of crashes at this worker, those whose trials took down no child on another host."""
        return crashes.only_on(conn, worker_id, found)

    @writing
    def retract_crashes(self, conn: Connection, worker_id: str, found: Sequence[Crash]) -> int:
        """Take back crashes that this worker counted, as its host was at fault. Returns how many."""
        return crashes.retract(conn, worker_id, found)

    @writing
    def register_worker(self, conn: Connection, info: WorkerInfo) -> None:
        """Make a worker known, before its first claim."""
        workers.register(conn, info)

    @writing
    def beat_worker(self, conn: Connection, worker_id: str) -> None:
        """Say that the worker is alive; `write` says it for a trial."""
        workers.beat(conn, worker_id)

    @writing
    def end_worker(self, conn: Connection, worker_id: str) -> None:
        """Say that the worker has gone."""
        workers.end(conn, worker_id)

    @reading
    def unfinished(self, conn: Connection, studies: Sequence[str] | None = None) -> int:
        """Trials that are not final, of the named studies or of all, but for those that were `skipped`."""
        query = _open(select(func.count()).select_from(trial), studies)
        query = query.where(claim.not_skipped()) if self._skipped else query
        return int(conn.execute(query, claim.parameters(conn, studies, self._skipped)).scalar_one())

    @reading
    def next_due(self, conn: Connection, studies: Sequence[str] | None = None) -> float | None:
        """Seconds until a queued trial is due or a lease runs out; None where all trials are final."""
        clock, now = backend_of(conn).read_clock(conn)
        moment = case(
            (trial.c.clock != clock, now),
            (trial.c.state == TrialState.LEASED.value, trial.c.lease_until),
            else_=func.coalesce(trial.c.not_before, now),
        )
        soonest = conn.execute(_open(select(func.min(moment)), studies), claim.parameters(conn, studies)).scalar_one()
        return None if soonest is None else max(0.0, float(soonest) - now)


def _open(query: Select[Any], studies: Sequence[str] | None) -> Select[Any]:
    query = query.where(trial.c.state.in_((TrialState.QUEUED.value, TrialState.LEASED.value)))
    return query if studies is None else query.where(claim.of_studies(len(studies) == 1))
