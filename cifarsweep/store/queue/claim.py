"""Claims. Taking a trial over from a vanished worker is the same statement as taking a queued one.

Statements are built once and kept: building one costs more than the database needs to run it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Integer,
    Row,
    ScalarSelect,
    String,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    or_,
    select,
    update,
)

from cifarsweep.errors import UnreadableStudy
from cifarsweep.spec.types import AttemptEnd, CheckpointRef, StopRequest, TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.database import Backend, backend_of
from cifarsweep.store.leases import LONGEST_S, clock_term, has_expired
from cifarsweep.store.metrics import drop_beyond
from cifarsweep.store.prepared import execute
from cifarsweep.store.queue import twins
from cifarsweep.store.queue.branches import with_branches
from cifarsweep.store.queue.workers import history
from cifarsweep.store.records import ClaimRequest, Lease
from cifarsweep.store.schema import attempt, checkpoint, study, trial, worker
from cifarsweep.store.study_data import check_claim, environment_columns
from cifarsweep.store.study_rows import CellCache

#: Workers that vanish with a trial, without a new checkpoint in between, before it waits behind all others.
MANY_TAKEOVERS = 5


class UnreadableTrial(Exception):
    """The trial to be claimed has rows that can't be read. Claim again and skip it."""

    def __init__(self, trial_id: int, error: UnreadableStudy) -> None:
        super().__init__(str(error))
        self.trial_id, self.error = trial_id, error


def claim(
    conn: Connection,
    cells: CellCache,
    request: ClaimRequest,
    lease_s: float,
    *,
    skipped: Collection[int] = (),
    again: bool = False,
) -> Lease | PutBack | None:
    """Take the next trial; None if none is due. Expired leases come first: they hold progress.

    PutBack says that the next trial waits now for one that is trained elsewhere: commit, and claim again. A transaction
    that looked at a second one could wait for another that waits for this one.

    Raises StudyRefused, for the transaction to be rolled back, where its study trains on other images.

    A trial with which worker after worker vanished comes last. It may be the cause, as where a limit of memory ends the
    worker together with its child, and then it must not keep the others from being trained; or it was bad luck.

    `skipped` are the ids of trials to leave out. With `again` the request may have been granted before, by a COMMIT
    whose answer was lost. Raises UnreadableTrial for a trial that can't be read, and then nothing must be committed.
    """
    if again and (lease := _claimed(conn, cells, request, lease_s)):
        return lease
    backend = backend_of(conn)
    one_study = None if request.studies is None else len(request.studies) == 1
    statement = _claim_statement(backend, one_study, bool(skipped), request.identify is not None)
    wanted = {"p_worker": request.worker_id, "p_slot": request.slot, "p_token": request.token, "p_lease_s": lease_s}
    wanted |= _parameters(conn, request.studies, skipped)
    while (row := execute(conn, statement, wanted | backend.clock_parameters()).first()) is not None:
        if row.attempt > 1 or row.state != TrialState.LEASED:
            conn.execute(_close(), {"p_trial": row.trial_id, "ended_at": datetime.now(UTC)})
        if row.state == TrialState.LEASED:
            return _lease(conn, cells, row, request, lease_s)
    return None


class PutBack(NamedTuple):
    """A trial that was claimed and now waits for another one with its identity."""

    trial_id: int


def _claimed(conn: Connection, cells: CellCache, request: ClaimRequest, lease_s: float) -> Lease | None:
    mine = trial.c.state == TrialState.LEASED.value, trial.c.token == request.token
    row = conn.execute(select(trial).where(*mine)).first()
    if row is None:
        return None
    with _skipping_unreadable(conn, row):
        found = rows.read(trial, row)
        lease = _identified(cells, conn, found, read_checkpoints(conn, row.trial_id), request, lease_s)
        lease = with_branches(conn, found, lease, request.identify)
        if lease.identity is not None and not lease.checkpoints:
            lease = replace(lease, twin=twins.find(conn, row.trial_id, lease.identity).done)
        return lease if row.attempt == 1 else replace(lease, history=history(conn, row.trial_id))


@cache
def _claim_statement(backend: Backend, one_study: bool | None, skipping: bool, waiting: bool) -> Any:
    # Once a statement: PostgreSQL reads its clock again for each trial that it looks at.
    now = select(backend.now_term()).scalar_subquery()
    lease_s: ColumnElement[float] = bindparam("p_lease_s", type_=Double())
    readable = [_not_skipped()] if skipping else []
    marked = trial.c.expired, has_expired(now)
    expired = _first(TrialState.LEASED, one_study, *marked, trial.c.takeovers < MANY_TAKEOVERS, *readable)
    often_abandoned = _first(TrialState.LEASED, one_study, *marked, trial.c.takeovers >= MANY_TAKEOVERS, *readable)
    free = [~_waits(now, one_study, skipping)] if waiting else []
    due = _first(TrialState.QUEUED, one_study, _is_due(now), _fits_worker(now, lease_s), *free, *readable)
    was_leased = trial.c.state == TrialState.LEASED.value
    # A stop request that its holder did not obey takes effect now.
    ends = [(and_(was_leased, trial.c.wish == request.value), request.state) for request in StopRequest]
    return (
        update(trial)
        .where(trial.c.trial_id == func.coalesce(expired, due, often_abandoned))
        .values(
            state=case(*((condition, state.value) for condition, state in ends), else_=TrialState.LEASED.value),
            attempt=trial.c.attempt + case((or_(*(condition for condition, _ in ends)), 0), else_=1),
            takeovers=trial.c.takeovers + case((was_leased, 1), else_=0),
            flush_seq=0,
            worker_id=bindparam("p_worker", type_=String()),
            slot=bindparam("p_slot", type_=Integer()),
            wish=None,
            token=bindparam("p_token", type_=String()),
            clock=clock_term(),
            beat=now,
            lease_until=now + lease_s,
            expired=False,
            not_before=None,
            shunned_by=None,
            waits=False,
        )
        .returning(trial)
    )


def _waits(now: ColumnElement[float], one_study: bool | None, skipping: bool) -> ColumnElement[bool]:
    """The trial waits for its source, and that is on its way: a worker holds it, or this one may take it.

    A source that comes later than the trial, since somebody changed priorities or workers vanished with it, is not
    waited for.
    """
    source = trial.alias("source")
    leased = source.c.state == TrialState.LEASED.value
    taken_first = and_(leased, source.c.takeovers < MANY_TAKEOVERS)
    # Not `in_`, which SQLAlchemy expands at each execution.
    mine = [source.c.rank <= trial.c.rank, or_(source.c.state == TrialState.QUEUED.value, taken_first)]
    mine += [] if one_study is None else [_of_studies(one_study, source)]
    mine += [_not_skipped(source)] if skipping else []
    held = and_(leased, ~has_expired(now, source))
    ahead = or_(trial.c.branch_step.is_(None), source.c.step < trial.c.branch_step)
    coming = exists().where(source.c.trial_id == trial.c.source_id, ahead, or_(held, and_(*mine))).correlate(trial)
    return and_(trial.c.waits, coming)


def _not_skipped(of: FromClause = trial) -> ColumnElement[bool]:
    """Leave out the trials of the parameter `p_skipped`."""
    return of.c.trial_id.not_in(bindparam("p_skipped", expanding=True))


def _first(state: TrialState, one_study: bool | None, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    query = select(trial.c.trial_id).where(trial.c.state == state.value, *conditions)
    if one_study is not None:
        query = query.where(_of_studies(one_study))
    order = trial.c.rank, trial.c.waiting_steps.desc(), trial.c.trial_id
    return query.order_by(*order).limit(1).with_for_update(skip_locked=True).scalar_subquery()


def _of_studies(one_study: bool, of: FromClause = trial) -> ColumnElement[bool]:
    """One study by its name, which is indexed; or several by their ids, as PostgreSQL would sort a join."""
    if one_study:
        named = select(study.c.study_id).where(study.c.name == bindparam("p_study", type_=String()))
        return of.c.study_id == named.scalar_subquery()
    return of.c.study_id.in_(bindparam("p_studies", expanding=True))


def _parameters(conn: Connection, studies: Sequence[str] | None, skipped: Collection[int] = ()) -> dict[str, Any]:
    """The values for `_of_studies` and `_not_skipped`."""
    values = {"p_skipped": list(skipped)} if skipped else {}
    if studies is None:
        return values
    if len(studies) == 1:
        return values | {"p_study": studies[0]}
    return values | {
        "p_studies": list(conn.execute(select(study.c.study_id).where(study.c.name.in_(studies))).scalars())
    }


def _is_due(now: ColumnElement[float]) -> ColumnElement[bool]:
    waits = and_(trial.c.clock == clock_term(), trial.c.not_before > now, trial.c.not_before <= now + LONGEST_S)
    return ~func.coalesce(waits, false())


def _fits_worker(now: ColumnElement[float], lease_s: ColumnElement[float]) -> ColumnElement[bool]:
    """A worker that ran out of memory leaves the trial to other live workers for one lease."""
    me = bindparam("p_worker", type_=String())
    others = exists().where(
        worker.c.worker_id != me,
        worker.c.ended_at.is_(None),
        worker.c.clock == clock_term(),
        worker.c.beat > now - lease_s,
    )
    return or_(trial.c.shunned_by.is_(None), trial.c.shunned_by != me, trial.c.not_before + lease_s <= now, ~others)


@cache
def _close() -> Update:
    return (
        update(attempt)
        .where(attempt.c.trial_id == bindparam("p_trial"), attempt.c.ending.is_(None))
        .values(ending=AttemptEnd.TAKEN_OVER.value)
    )


def _lease(conn: Connection, cells: CellCache, row: Row[Any], request: ClaimRequest, lease_s: float) -> Lease | PutBack:
    with _skipping_unreadable(conn, row):
        found = rows.read(trial, row)
        checkpoints = _rewind(conn, row.trial_id) if row.attempt > 1 else ()
        lease = _identified(cells, conn, found, checkpoints, request, lease_s)
        values = {"trial_id": row.trial_id, "attempt": row.attempt, "worker_id": request.worker_id}
        values |= {"first_step": lease.step, "started_at": datetime.now(UTC), "identity": lease.identity}
        if request.environment is not None:
            if lease.dataset is not None:
                check_claim(conn, row.study_id, lease.study, lease.dataset, request.environment, row.trial_id)
            values |= environment_columns(request.environment, lease.dataset)
        _add_attempt(conn, values)
        if lease.identity is not None and not checkpoints:
            twin = twins.find(conn, row.trial_id, lease.identity)
            if twin.running is not None:
                twins.put_back(conn, lease, twin.running)
                return PutBack(row.trial_id)
            lease = lease if twin.done is None else replace(lease, twin=twin.done)
        lease = with_branches(conn, found, lease, request.identify)
        return lease if row.attempt == 1 else replace(lease, history=history(conn, row.trial_id))


@cache
def _insert(backend: Backend) -> Any:
    # Of workers that claim trials of one identity at once, each sees those before it.
    return backend.insert_ignore(attempt).returning(attempt.c.attempt, backend.identity_lock(attempt.c.identity))


def _add_attempt(conn: Connection, values: dict[str, Any]) -> None:
    # Without an error of the database, after which PostgreSQL rejects further statements.
    if execute(conn, _insert(backend_of(conn)), values).first() is None:
        before = values["attempt"] - 1
        raise columns.BadValue(
            f"cs_trial.attempt is {before}, but cs_attempt has a later one: {columns.ADVICE}"
        ) from None


def _identified(
    cells: CellCache,
    conn: Connection,
    found: dict[str, Any],
    checkpoints: tuple[CheckpointRef, ...],
    request: ClaimRequest,
    lease_s: float,
) -> Lease:
    """The lease, with the digest of this worker's images and the identity that the trial has on them."""
    known = {} if request.environment is None else request.environment.data
    lease = cells.lease(conn, found, checkpoints, lease_s, known)
    # What decides the rows of a program is not known.
    if request.identify is None or lease.program is not None:
        return lease
    return replace(lease, identity=request.identify(lease, None))


@contextmanager
def _skipping_unreadable(conn: Connection, row: Row[Any]) -> Iterator[None]:
    try:
        yield
    except columns.BadValue as error:
        name = conn.execute(select(study.c.name).where(study.c.study_id == row.study_id)).scalar()
        raise UnreadableTrial(row.trial_id, rows.unreadable(name, error, row.number)) from None


def _rewind(conn: Connection, trial_id: int) -> tuple[CheckpointRef, ...]:
    """Put a trial back to its newest checkpoint."""
    checkpoints = read_checkpoints(conn, trial_id)
    step = checkpoints[0].step if checkpoints else 0
    drop_beyond(conn, trial_id, step)
    conn.execute(update(trial).where(trial.c.trial_id == trial_id).values(step=step))
    return checkpoints


def read_checkpoints(conn: Connection, trial_id: int) -> tuple[CheckpointRef, ...]:
    """The pointers of a trial, newest first. Raises BadValue."""
    query = select(checkpoint).where(checkpoint.c.trial_id == trial_id).order_by(checkpoint.c.step.desc())
    found = [rows.read(checkpoint, row) for row in conn.execute(query)]
    return tuple(CheckpointRef(one["step"], one["path"], one["sha256"], one["bytes"]) for one in found)
