"""Trials with one identity: their rows and results are the same, so one is trained and the others take them over."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, String, and_, bindparam, delete, insert, or_, select, update

from cifarsweep.spec.types import AttemptEnd, Outcome, TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.database import Backend, backend_of
from cifarsweep.store.digests import read_digest
from cifarsweep.store.leases import has_expired
from cifarsweep.store.metrics import drop_beyond
from cifarsweep.store.queue import fence
from cifarsweep.store.records import Lease, SourceRef
from cifarsweep.store.schema import attempt, hits, metric, study, trial
from cifarsweep.store.study_rows import checkpoint_folder

#: Columns that belong to a lease.
_OF_LEASE = ("worker_id", "slot", "token", "clock", "beat", "lease_until")


class Twin(NamedTuple):
    """What trial of the same identity there is: one that is done, else one that a worker trains."""

    done: SourceRef | None = None
    running: int | None = None


class SourceChanged(Exception):
    """The trial that another one was to take over is not as it was when it ended; `other` is one to take instead."""

    other: SourceRef | None = None


def find(conn: Connection, trial_id: int, identity: str) -> Twin:
    """Another trial with that identity."""
    backend = backend_of(conn)
    if not backend.has_other_attempt(conn, trial_id, identity):
        return Twin()
    values = {"p_trial": trial_id, "p_identity": identity} | backend.clock_parameters()
    row = conn.execute(_others(backend), values).first()
    if row is None:
        return Twin()
    if row.state == TrialState.LEASED.value:
        return Twin(running=row.trial_id)
    try:
        name, made = rows.column(study.c.name, row.name), rows.column(study.c.created_at, row.created_at)
        number = rows.column(trial.c.number, row.number)
    except columns.BadValue:
        return Twin()
    return Twin(done=SourceRef(row.trial_id, name, checkpoint_folder(name, made), number))


@cache
def _others(backend: Backend) -> Select[Any]:
    """Trials whose last attempt has the identity; first those that are done and took least from others."""
    done = trial.c.state == TrialState.DONE.value
    whole = and_(done, trial.c.outcome != Outcome.PRUNED.value, trial.c.rows_digest.is_not(None))
    running = and_(trial.c.state == TrialState.LEASED.value, ~has_expired(backend.now_term()))
    query = select(trial.c.trial_id, trial.c.state, trial.c.number, study.c.name, study.c.created_at)
    query = query.join_from(attempt, trial, trial.c.trial_id == attempt.c.trial_id)
    query = query.join(study, study.c.study_id == trial.c.study_id)
    query = query.where(
        attempt.c.identity == bindparam("p_identity", type_=String()),
        attempt.c.attempt == trial.c.attempt,
        trial.c.trial_id != bindparam("p_trial"),
        or_(whole, running),
    )
    return query.order_by(done.desc(), trial.c.reused_steps, trial.c.trial_id).limit(1)


def put_back(conn: Connection, lease: Lease, source_id: int) -> None:
    """Undo the claim of a trial, which waits for the source from now on."""
    values: dict[str, Any] = dict.fromkeys(_OF_LEASE)
    values |= {"state": TrialState.QUEUED.value, "attempt": trial.c.attempt - 1}
    values |= {"source_id": source_id, "branch_step": None, "waits": True}
    conn.execute(update(trial).where(trial.c.trial_id == lease.trial_id).values(values))
    mine = attempt.c.trial_id == lease.trial_id, attempt.c.attempt == lease.attempt
    conn.execute(delete(attempt).where(*mine))


def reuse(conn: Connection, lease: Lease) -> bool:
    """End a trial with the rows and the result of its twin; False if it was ended before and only the answer was lost.

    Raises SourceChanged where they are not what they were when the twin ended, and LeaseLost.
    """
    assert lease.twin is not None
    source = _intact(conn, lease.twin.trial_id)
    if source is None:
        if fence.ended_before(conn, lease, AttemptEnd.DONE):
            return False
        raise SourceChanged(f"{lease.twin.name} is not as it was when it ended")
    copied = ("outcome", "value", "final", "weights_sha256", "rows_digest", "step", "elapsed_s")
    result = {f"p_{name}": source[name] for name in copied} | {"p_state": TrialState.DONE.value}
    if fence.end_attempt(conn, lease, (), None, AttemptEnd.DONE, result) is None:
        return False
    drop_beyond(conn, lease.trial_id, -1)
    for table in (metric, hits):
        conn.execute(_copy(table), {"p_trial": lease.trial_id, "p_source": lease.twin.trial_id})
    taken = {"source_id": lease.twin.trial_id, "branch_step": None}
    taken |= {"reused_steps": source["step"], "reused_s": source["elapsed_s"]}
    conn.execute(update(trial).where(trial.c.trial_id == lease.trial_id).values(taken))
    return True


def reject(conn: Connection, lease: Lease) -> SourceRef | None:
    """Let nobody take the twin of the lease any more, for it was edited; returns another one that is done."""
    assert lease.twin is not None and lease.identity is not None
    edited = trial.c.trial_id == lease.twin.trial_id, trial.c.state == TrialState.DONE.value
    conn.execute(update(trial).where(*edited).values(rows_digest=None))
    return find(conn, lease.trial_id, lease.identity).done


def _intact(conn: Connection, trial_id: int) -> Mapping[str, Any] | None:
    """The row of a trial that is done and whose rows and result are those that it ended with; else None."""
    row: Row[Any] | None = conn.execute(select(trial).where(trial.c.trial_id == trial_id)).first()
    if row is None or row.state != TrialState.DONE.value or row.rows_digest is None:
        return None
    try:
        rows.trial_of(row)
    except columns.BadValue:
        return None
    return dict(row._mapping) if read_digest(conn, trial_id) == row.rows_digest else None


@cache
def _copy(table: Any) -> Any:
    """Copy the rows of the trial `p_source` to the trial `p_trial`."""
    others = [column for column in table.columns if column.name != "trial_id"]
    query = select(bindparam("p_trial", type_=table.c.trial_id.type), *others)
    return insert(table).from_select(["trial_id", *others], query.where(table.c.trial_id == bindparam("p_source")))
