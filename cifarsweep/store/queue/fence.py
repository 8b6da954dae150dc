"""Writes of a lease's holder. Each begins with the guard: one statement that is both heartbeat and fence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Double, Update, bindparam, case, delete, func, insert, select, update

from cifarsweep.errors import LeaseLost
from cifarsweep.spec.metrics import ELAPSED
from cifarsweep.spec.types import AttemptEnd, CheckpointRef, MetricRow, StopRequest, TrialResult, TrialState
from cifarsweep.store import columns
from cifarsweep.store import rows as rows_of
from cifarsweep.store.column_types import storable
from cifarsweep.store.database import Backend, Database, Part, backend_of, writing
from cifarsweep.store.digests import RowsDigest, record_digest
from cifarsweep.store.hits import insert_hits
from cifarsweep.store.leases import Timing, clock_term
from cifarsweep.store.metrics import drop_beyond, insert_rows
from cifarsweep.store.prepared import execute
from cifarsweep.store.queue.crashes import MOST_CRASHES, trial_is_at_fault
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import attempt, trial
from cifarsweep.store.schema import checkpoint as checkpoint_table
from cifarsweep.store.search import record

#: Exceptions, or times out of memory, that end a trial: one retry each.
MOST_FAILURES = 2

_COUNTER = {
    AttemptEnd.EXCEPTION: ("exceptions", MOST_FAILURES, TrialState.FAILED),
    AttemptEnd.OUT_OF_MEMORY: ("out_of_memory", MOST_FAILURES, TrialState.FAILED),
    AttemptEnd.CRASHED: ("crashes", MOST_CRASHES, TrialState.POISONED),
}
_NONE: Mapping[int, bool] = MappingProxyType({})
_RESULT = ("state", "outcome", "value", "final", "weights_sha256", "rows_digest")


class GuardResult(NamedTuple):
    """The answer of the guard to the holder."""

    #: this write was committed before and only the answer was lost: its rows are there already
    already_committed: bool
    #: a request that the holder stop
    stop_request: StopRequest | None


@cache
def _guard(backend: Backend, finishing: bool) -> Update:
    """Build the statement once: building costs more than running it. NULL leaves progress as it is."""
    now = backend.now_term()
    reached = bindparam("p_reached", type_=BigInteger())
    further = trial.c.furthest < reached
    statement = (
        update(trial)
        .where(
            trial.c.trial_id == bindparam("p_trial"),
            trial.c.state == TrialState.LEASED.value,
            trial.c.attempt == bindparam("p_attempt"),
            trial.c.flush_seq == bindparam("p_expected"),
        )
        .values(
            flush_seq=bindparam("p_flush_seq"),
            clock=clock_term(),
            beat=now,
            lease_until=now + bindparam("p_lease_s", type_=Double()),
            expired=False,
            step=func.coalesce(bindparam("p_step", type_=BigInteger()), trial.c.step),
            total_steps=func.coalesce(bindparam("p_total", type_=BigInteger()), trial.c.total_steps),
            elapsed_s=func.coalesce(bindparam("p_elapsed_s", type_=Double()), trial.c.elapsed_s),
            furthest=case((further, reached), else_=trial.c.furthest),
            # A new checkpoint: the trial has got past whatever took children and workers down before.
            crashes=case((further, 0), else_=trial.c.crashes),
            takeovers=case((further, 0), else_=trial.c.takeovers),
        )
        .returning(trial.c.wish)
    )
    if finishing:
        return statement.values({name: bindparam(f"p_{name}") for name in _RESULT} | {"wish": None})
    return statement


def guard(conn: Connection, lease: Lease, progress: Mapping[str, Any], *, finishing: bool = False) -> GuardResult:
    """Renew the lease and advance the fence. Raises LeaseLost if this attempt no longer has the trial."""
    backend = backend_of(conn)
    after = lease.flush_seq + 1
    values = {"p_trial": lease.trial_id, "p_attempt": lease.attempt, "p_flush_seq": after, "p_lease_s": lease.lease_s}
    values |= progress
    for expected in (lease.flush_seq, after):
        clock = backend.clock_parameters()
        found = execute(conn, _guard(backend, finishing), values | clock | {"p_expected": expected}).first()
        if found is not None:
            # An unknown request is one of a newer version, or an edit by hand.
            return GuardResult(expected == after, next((one for one in StopRequest if one == found.wish), None))
    raise LeaseLost(
        f"trial {lease.study}/{lease.number}: the lease of attempt {lease.attempt} is gone; "
        "its rows since the last checkpoint are dropped"
    )


class LeaseWrites(Part):
    """What the holder of a lease writes. Every method raises LeaseLost where another worker has the trial by now."""

    def __init__(self, db: Database, timing: Timing) -> None:
        super().__init__(db)
        self._timing = timing

    @writing
    def write(
        self,
        conn: Connection,
        lease: Lease,
        rows: Sequence[MetricRow],
        checkpoint: CheckpointRef | None = None,
        decisions: Mapping[int, bool] = _NONE,
        total_steps: int | None = None,
    ) -> Lease:
        """Record rows and a checkpoint in one transaction, and renew the lease; no rows is a plain heartbeat.

        `decisions` say for steps that were evaluated whether the trial ends there, where its study may end it early;
        `total_steps` are those that the trial trains in all.
        Returns the lease to go on with. After StoreUnavailable, write again with the old one, with the same rows or
        more: what had been committed in spite of the error is not written twice.
        """
        passed = guard(conn, lease, progress(rows, checkpoint) | {"p_total": total_steps})
        insert_rows(conn, lease.trial_id, rows, again=passed.already_committed)
        checkpoints = lease.checkpoints if checkpoint is None else _add_checkpoint(conn, lease, checkpoint)
        record(conn, lease.trial_id, decisions)
        return replace(lease, flush_seq=lease.flush_seq + 1, checkpoints=checkpoints, stop_request=passed.stop_request)

    @writing
    def rewind(self, conn: Connection, lease: Lease, step: int) -> Lease:
        """Forget rows and checkpoints after `step`, as when a checkpoint turned out broken."""
        passed = guard(conn, lease, progress((), None) | {"p_step": step})
        go_back(conn, lease, step)
        kept = tuple(old for old in lease.checkpoints if old.step <= step)
        return replace(lease, flush_seq=lease.flush_seq + 1, checkpoints=kept, stop_request=passed.stop_request)

    @writing
    def release(
        self, conn: Connection, lease: Lease, rows: Sequence[MetricRow], checkpoint: CheckpointRef | None
    ) -> None:
        """Give the trial back, as on Ctrl-C, which is no failure; a request to pause or cancel it takes effect now."""
        if (passed := end_attempt(conn, lease, rows, checkpoint, AttemptEnd.RELEASED)) is None:
            return
        if passed.stop_request is StopRequest.CANCEL:
            conn.execute(_attempt(), _attempt_key(lease) | {"ending": AttemptEnd.CANCELLED.value})
        _set(conn, lease, state=released_state(passed.stop_request).value)

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
        counter, most, last_state = _COUNTER[end]
        passed = end_attempt(conn, lease, rows, checkpoint, end, error=error, traceback=traceback)
        row = conn.execute(select(trial).where(trial.c.trial_id == lease.trial_id)).one()
        try:
            rows_of.read(trial, row)
        except columns.BadValue as problem:
            raise LeaseLost(f"trial {lease.study}/{lease.number}: {problem}") from None
        if passed is None:
            return TrialState(row.state)
        count = row._mapping[counter] + 1
        if count >= most or (end is AttemptEnd.CRASHED and trial_is_at_fault(conn, lease.trial_id, count)):
            _set(conn, lease, state=last_state.value, **{counter: count})
            return last_state
        # The guard has just set the heartbeat: the wait counts from there.
        not_before = row.beat + self._timing.backoff_s(count - 1)
        shunned_by = row.worker_id if end is AttemptEnd.OUT_OF_MEMORY else None
        state = released_state(passed.stop_request)
        _set(conn, lease, state=state.value, not_before=not_before, shunned_by=shunned_by, **{counter: count})
        return state


def go_back(conn: Connection, lease: Lease, step: int) -> None:
    """Forget rows and checkpoints after `step`, within a transaction."""
    drop_beyond(conn, lease.trial_id, step)
    conn.execute(
        delete(checkpoint_table).where(checkpoint_table.c.trial_id == lease.trial_id, checkpoint_table.c.step > step)
    )
    # Earlier attempts count only if they made what is left.
    conn.execute(_attempt(), _attempt_key(lease) | {"first_step": step})


def finish(
    conn: Connection,
    lease: Lease,
    rows: Sequence[MetricRow],
    new: CheckpointRef | None,
    result: TrialResult,
    written: RowsDigest | None = None,
) -> bool:
    """End a trial that is done. Returns False if it was ended before and only the answer was lost.

    `written` is the digest of all rows of the trial; without it the rows are read.
    """
    value, final = columns.result_columns(result.final, lease.metric)
    outcome = {
        "p_state": TrialState.DONE.value,
        "p_outcome": result.outcome.value,
        "p_value": value,
        "p_final": final,
        "p_weights_sha256": result.weights_sha256,
        "p_step": result.step,
        "p_rows_digest": None,
    }
    if lease.identity is not None and written is not None:
        result_columns = (result.outcome.value, result.step, value, final, result.weights_sha256)
        outcome["p_rows_digest"] = written.with_result(result_columns)
    passed = end_attempt(conn, lease, rows, new, AttemptEnd.DONE, outcome, result.remark)
    if passed is None:
        return False
    # Only a write before the end can have been committed: after the end nothing passes the guard.
    insert_hits(conn, lease.trial_id, result.hits)
    if lease.identity is not None and written is None:
        record_digest(conn, lease)
    return True


def released_state(request: StopRequest | None) -> TrialState:
    """The state of a trial that is not final when its lease ends."""
    return TrialState.QUEUED if request is None else request.state


def _set(conn: Connection, lease: Lease, **values: Any) -> None:
    conn.execute(update(trial).where(trial.c.trial_id == lease.trial_id).values(wish=None, **values))


def end_attempt(
    conn: Connection,
    lease: Lease,
    rows: Sequence[MetricRow],
    new: CheckpointRef | None,
    end: AttemptEnd,
    result: Mapping[str, Any] | None = None,
    error: str = "",
    traceback: str = "",
) -> GuardResult | None:
    """Record the last of an attempt and close it; None if that was done before and only the answer was lost."""
    try:
        passed = guard(conn, lease, progress(rows, new) | dict(result or {}), finishing=result is not None)
    except LeaseLost:
        if ended_before(conn, lease, end):
            return None
        raise
    insert_rows(conn, lease.trial_id, rows, again=passed.already_committed)
    if new is not None:
        _add_checkpoint(conn, lease, new)
    words = {"error": storable(error) or None, "traceback": storable(traceback) or None}
    closed = {"ending": end.value, "ended_at": datetime.now(UTC), **words}
    execute(conn, _attempt(), _attempt_key(lease) | closed)
    return passed


@cache
def _attempt() -> Update:
    return update(attempt).where(
        attempt.c.trial_id == bindparam("p_trial"), attempt.c.attempt == bindparam("p_attempt")
    )


def _attempt_key(lease: Lease) -> dict[str, int]:
    return {"p_trial": lease.trial_id, "p_attempt": lease.attempt}


def ended_before(conn: Connection, lease: Lease, end: AttemptEnd) -> bool:
    """Whether the holder ended the attempt so, and only the answer was lost."""
    # Only the holder closes an attempt this way: a successor writes `taken_over`. A release may cancel.
    mine = select(attempt.c.ending).where(attempt.c.trial_id == lease.trial_id, attempt.c.attempt == lease.attempt)
    return conn.execute(mine).scalar_one_or_none() in (end.value, AttemptEnd.CANCELLED.value)


def progress(rows: Sequence[MetricRow], new: CheckpointRef | None) -> dict[str, Any]:
    """The guard's parameters for what rows and a checkpoint say of how far the trial is."""
    return {
        "p_total": None,
        "p_step": max((row.step for row in rows), default=None),
        "p_elapsed_s": max((row.value for row in rows if row.name == ELAPSED), default=None),
        "p_reached": new.step if new else None,
    }


def _add_checkpoint(conn: Connection, lease: Lease, new: CheckpointRef) -> tuple[CheckpointRef, ...]:
    """Point to a new checkpoint and keep the one before it. Returns both, newest first."""
    kept = tuple(old for old in lease.checkpoints if old.step < new.step)[:1]
    kept_steps = [old.step for old in kept]
    conn.execute(
        delete(checkpoint_table).where(
            checkpoint_table.c.trial_id == lease.trial_id, checkpoint_table.c.step.not_in(kept_steps)
        )
    )
    values = {"step": new.step, "path": new.path, "sha256": new.sha256, "bytes": new.bytes}
    conn.execute(insert(checkpoint_table), {"trial_id": lease.trial_id} | values)
    return (new, *kept)
