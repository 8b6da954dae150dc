"""Branches: checkpoints of a trial that others begin from, with the rows that they take along.

A trial that is to begin with the steps of another one has its `source_id` and `branch_step`, and the source has a row
of `cs_branch` for that step, with a path once the checkpoint is there. Whatever goes wrong, a trial can begin at 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from cifarsweep.spec.metrics import ELAPSED
from cifarsweep.spec.types import FINAL_STATES, AttemptEnd, CheckpointRef, MetricRow, TrialState
from cifarsweep.store import columns
from cifarsweep.store import rows as rows_of
from cifarsweep.store.database import writing
from cifarsweep.store.digests import of_one_identity, read_digest_before
from cifarsweep.store.metrics import drop_beyond, insert_rows
from cifarsweep.store.queue.fence import (
    LeaseWrites,
    end_attempt,
    go_back,
    guard,
    progress,
    released_state,
)
from cifarsweep.store.records import BranchRef, FreedBranches, Identify, Lease, SourceRef
from cifarsweep.store.schema import attempt, branch, checkpoint, metric, study, trial
from cifarsweep.store.study_rows import checkpoint_folder

_OPEN = tuple(state.value for state in TrialState if state not in FINAL_STATES)


class Branches(LeaseWrites):
    """What the holders of leases write and read of branches."""

    @writing
    def keep_branches(
        self, conn: Connection, lease: Lease, rows: Sequence[MetricRow], saved: Sequence[CheckpointRef]
    ) -> Lease:
        """Record checkpoints that others begin from, with all rows before their steps, and renew the lease.

        Like `write`, also where the database was away. The lease that it returns still has those branch steps that were
        not recorded, as nobody is to begin there any more.
        """
        passed = guard(conn, lease, progress(rows, None))
        insert_rows(conn, lease.trial_id, rows, again=passed.already_committed)
        kept = {ref.step for ref in saved if _keep(conn, lease, ref)}
        left = {step: identity for step, identity in lease.branch_steps.items() if step not in kept}
        return replace(lease, flush_seq=lease.flush_seq + 1, branch_steps=left, stop_request=passed.stop_request)

    @writing
    def begin(self, conn: Connection, lease: Lease) -> Lease | None:
        """Begin with the steps of another trial, whose checkpoint the lease's `branch` is: its rows before that step.

        Returns None where those are not the rows any more that came with the checkpoint: the trial was given back, and
        will begin at 0.
        """
        begun = lease.branch
        assert begun is not None
        step = begun.checkpoint.step
        passed = guard(conn, lease, progress((), None))
        go_back(conn, lease, 0)
        drop_beyond(conn, lease.trial_id, -1)
        conn.execute(_copy_rows(), {"p_trial": lease.trial_id, "p_source": begun.source.trial_id, "p_step": step})
        if read_digest_before(conn, lease.trial_id, step) != begun.rows_digest:
            go_back(conn, lease, 0)
            end_attempt(conn, lease, (), None, AttemptEnd.RELEASED)
            state = released_state(passed.stop_request).value
            _set(conn, lease, state=state, wish=None, source_id=None, branch_step=None)
            return None
        trained_s = _elapsed(conn, lease.trial_id)
        _set(conn, lease, step=step, elapsed_s=trained_s, reused_steps=step, reused_s=trained_s)
        # The source's attempts trained what is before.
        mine = attempt.c.trial_id == lease.trial_id, attempt.c.attempt == lease.attempt
        conn.execute(update(attempt).where(*mine).values(first_step=step))
        return replace(lease, flush_seq=lease.flush_seq + 1, checkpoints=(), stop_request=passed.stop_request)

    def free_branches(self) -> list[FreedBranches]:
        """Forget the checkpoints that no open trial is to begin from any more; their files can be removed."""
        return self._change(_free, len)


def with_branches(conn: Connection, found: Mapping[str, Any], lease: Lease, identify: Identify | None) -> Lease:
    """Add to a lease where others are to begin, and where it may begin itself. `found` is its row of `cs_trial`.

    A checkpoint is shared under the identity of the steps before it, so all attempts behind it must have had one.
    """
    if identify is None or lease.identity is None:
        return lease
    if not found["waiting_steps"] and found["branch_step"] is None:
        return lease  # as nearly all are: a copy of it would take longer than the test
    steps = _wanted_steps(conn, lease) if found["waiting_steps"] and of_one_identity(conn, lease) else ()
    identities = {step: identity for step in steps if (identity := identify(lease, step)) is not None}
    begins = _branch(conn, found["source_id"], found["branch_step"]) if found["branch_step"] is not None else None
    if begins is not None and identify(lease, begins.checkpoint.step) != begins.identity:
        begins = None
    return replace(lease, branch_steps=identities, branch=begins)


def _wanted_steps(conn: Connection, lease: Lease) -> Sequence[int]:
    # Also what it kept before it went back: its rows will have other times, and a state has to be of the same training.
    missing = or_(branch.c.path.is_(None), branch.c.step > lease.step)
    query = select(branch.c.step).where(branch.c.trial_id == lease.trial_id, missing, _is_wanted())
    return conn.execute(query.order_by(branch.c.step)).scalars().all()


def _is_wanted() -> ColumnElement[bool]:
    """An open trial is to begin there and has no checkpoint of its own from there on."""
    follower = trial.alias()
    past = exists().where(checkpoint.c.trial_id == follower.c.trial_id, checkpoint.c.step >= branch.c.step)
    begins = follower.c.source_id == branch.c.trial_id, follower.c.branch_step == branch.c.step
    return exists().where(*begins, follower.c.state.in_(_OPEN), ~past)


def _branch(conn: Connection, source_id: int, step: int) -> BranchRef | None:
    """The checkpoint of that step; None if there is none, or none that can be read."""
    query = select(branch, trial.c.number, study.c.name, study.c.created_at)
    query = query.join(trial, trial.c.trial_id == branch.c.trial_id).join(study, study.c.study_id == trial.c.study_id)
    row = conn.execute(query.where(branch.c.trial_id == source_id, branch.c.step == step)).first()
    if row is None or row.path is None:
        return None
    try:
        its, source = rows_of.read(branch, row), _source(row)
    except columns.BadValue:
        return None
    if any(value is None for value in its.values()):
        return None
    ref = CheckpointRef(step, its["path"], its["sha256"], its["bytes"])
    return BranchRef(source, ref, its["identity"], its["rows_digest"])


def _source(row: Any) -> SourceRef:
    name, made = rows_of.column(study.c.name, row.name), rows_of.column(study.c.created_at, row.created_at)
    return SourceRef(row.trial_id, name, checkpoint_folder(name, made), rows_of.column(trial.c.number, row.number))


@cache
def _copy_rows() -> Any:
    others = [column for column in metric.columns if column.name != "trial_id"]
    query = select(bindparam("p_trial", type_=BigInteger()), *others)
    its = metric.c.trial_id == bindparam("p_source"), metric.c.step < bindparam("p_step")
    return insert(metric).from_select(["trial_id", *(column.name for column in others)], query.where(*its))


def _set(conn: Connection, lease: Lease, **values: Any) -> None:
    conn.execute(update(trial).where(trial.c.trial_id == lease.trial_id).values(values))


def _keep(conn: Connection, lease: Lease, ref: CheckpointRef) -> bool:
    """Record a checkpoint. Returns False if nobody is to begin there any more."""
    values = {
        "identity": lease.branch_steps.get(ref.step),
        "path": ref.path,
        "sha256": ref.sha256,
        "bytes": ref.bytes,
        "rows_digest": read_digest_before(conn, lease.trial_id, ref.step),
    }
    its = branch.c.trial_id == lease.trial_id, branch.c.step == ref.step
    return conn.execute(update(branch).where(*its).values(values)).rowcount == 1


def _elapsed(conn: Connection, trial_id: int) -> float:
    """The seconds of training that the trial's rows say: less than its checkpoint has, by a few steps at most."""
    its = metric.c.trial_id == trial_id, metric.c.name == ELAPSED
    return float(conn.execute(select(func.max(metric.c.value)).where(*its)).scalar() or 0.0)


def _free(conn: Connection) -> list[FreedBranches]:
    freed = conn.execute(delete(branch).where(~_is_wanted()).returning(branch.c.trial_id, branch.c.path)).all()
    sources = {row.trial_id for row in freed}
    if not sources:
        return []
    kept = set(conn.execute(select(branch.c.trial_id).where(branch.c.trial_id.in_(sources))).scalars())
    query = select(trial.c.trial_id, trial.c.number, study.c.name, study.c.created_at)
    query = query.join(study, study.c.study_id == trial.c.study_id).where(trial.c.trial_id.in_(sources))
    paths = defaultdict[int, list[str]](list)
    for row in freed:
        paths[row.trial_id] += [] if row.path is None else [row.path]
    found = []
    for source in conn.execute(query.order_by(trial.c.trial_id)).all():
        with suppress(columns.BadValue):
            found.append(FreedBranches(_source(source), tuple(paths[source.trial_id]), source.trial_id not in kept))
    return found
