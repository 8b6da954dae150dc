"""Control of a running study: pause, resume, cancel, retry, prioritize.

Each call locks the study and the trials that it is about, so what it counts is what it changes. A trial that a worker
holds is not touched: it gets a stop request, which the guard of its holder's next write returns.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from cifarsweep.errors import StoreError
from cifarsweep.spec.types import FINAL_STATES, AttemptEnd, StopRequest, TrialState
from cifarsweep.store.database import P, Part, backend_of
from cifarsweep.store.records import ControlResult
from cifarsweep.store.schema import attempt, study, trial
from cifarsweep.store.study_rows import first_state, study_id
from cifarsweep.store.trials import no_such_trial
from cifarsweep.store.unreadable_rows import naming_rows

_RETRIED = (TrialState.FAILED, TrialState.POISONED, TrialState.CANCELLED)
_OPEN = tuple(state for state in TrialState if state not in FINAL_STATES)


class _Scope(NamedTuple):
    """The target of a command: a study, or one trial of it."""

    study: Row[Any]
    whole: bool
    trials: ColumnElement[bool]

    @property
    def points(self) -> int:
        """Points that a search has not asked for yet."""
        return int(self.study.points or 0) - int(self.study.asked)


def _changing(
    method: Callable[Concatenate[Control, Connection, str, P], ControlResult],
) -> Callable[Concatenate[Control, str, P], ControlResult]:
    """Run a method in a transaction. The largest result holds: a retry after a lost answer changes nothing."""

    @wraps(method)
    def call(self: Control, study_name: str, /, *args: P.args, **kwargs: P.kwargs) -> ControlResult:
        with naming_rows(self._db, study_name):
            return self._change(
                lambda conn: method(self, conn, study_name, *args, **kwargs),
                lambda result: result.applied + result.pending + result.points,
            )

    return call


class Control(Part):
    """Commands for a study, or for one trial of it. Every method raises UnknownStudy, or StoreError where noted."""

    @_changing
    def pause(self, conn: Connection, study_name: str, number: int | None = None) -> ControlResult:
        """Let trials wait; a trial that a worker holds stops at a checkpoint. A final trial raises StoreError."""
        scope = _locked(conn, study_name, number)
        points = _set_study_request(conn, scope, (None,), StopRequest.PAUSE)
        # A cancel request overrides a pause request.
        return _request_stop(
            conn, and_(scope.trials, trial.c.wish.is_distinct_from(StopRequest.CANCEL.value)), StopRequest.PAUSE, points
        )

    @_changing
    def resume(self, conn: Connection, study_name: str, number: int | None = None) -> ControlResult:
        """Undo `pause`, also where the holder has not noticed it yet. A final trial raises StoreError."""
        scope = _locked(conn, study_name, number)
        points = _set_study_request(conn, scope, (StopRequest.PAUSE,), None)
        now = _move(conn, scope.trials, trial.c.state == TrialState.PAUSED, state=TrialState.QUEUED.value)
        return ControlResult(now, _move(conn, scope.trials, trial.c.wish == StopRequest.PAUSE.value, wish=None), points)

    @_changing
    def cancel(self, conn: Connection, study_name: str, number: int | None = None) -> ControlResult:
        """Give trials up for good. A trial that has ended otherwise raises StoreError."""
        scope = _locked(conn, study_name, number, TrialState.CANCELLED)
        points = _set_study_request(conn, scope, (None, StopRequest.PAUSE), StopRequest.CANCEL)
        return _request_stop(conn, scope.trials, StopRequest.CANCEL, points)

    @_changing
    def retry(self, conn: Connection, study_name: str, number: int | None = None) -> ControlResult:
        """Queue failed, poisoned and cancelled trials again, as if they had never failed, from their newest checkpoint.

        In a paused study they are paused. A trial that is done, or an imported study, raises StoreError.
        """
        scope = _locked(conn, study_name, number, *_RETRIED)
        if '"imported":true' in scope.study.spec:
            raise StoreError(
                f"study {study_name!r} was imported: its trials were trained elsewhere, so none can be queued"
            )
        points = _set_study_request(conn, scope, (StopRequest.CANCEL,), None)
        counters = {"crashes": 0, "takeovers": 0, "exceptions": 0, "out_of_memory": 0}
        fresh = {"state": first_state(scope.study).value, "not_before": None, "shunned_by": None, "told": False}
        now = _move(conn, scope.trials, trial.c.state.in_(_RETRIED), **fresh, **counters)
        if now:
            # Optuna can't undo a failure, so its view of the study is rewritten.
            _set_study(conn, scope, stale=True)
        return ControlResult(
            now, _move(conn, scope.trials, trial.c.wish == StopRequest.CANCEL.value, wish=None), points
        )

    @_changing
    def prioritize(
        self, conn: Connection, study_name: str, number: int | None = None, *, priority: int
    ) -> ControlResult:
        """Let trials be claimed before those of a lower priority; 0 is the default. A final trial raises StoreError."""
        scope = _locked(conn, study_name, number)
        if scope.whole:
            _set_study(conn, scope, rank=-priority)
        others = trial.c.state.in_(_OPEN), trial.c.rank != -priority
        return ControlResult(_move(conn, scope.trials, *others, rank=-priority))


def _locked(conn: Connection, name: str, number: int | None, *also: TrialState) -> _Scope:
    """Keep others from the study and its trials. Raises StoreError where one trial is final and its state not `also`.

    The study is locked first: everywhere that both are locked.
    """
    owner = study_id(conn, name)
    found = conn.execute(select(study).where(study.c.study_id == owner).with_for_update()).one()
    trials = trial.c.study_id == owner
    if number is not None:
        trials = and_(trials, trial.c.number == number)
    locked = select(trial.c.state).where(trials).order_by(trial.c.trial_id).with_for_update()
    states = list(conn.execute(locked).scalars())
    if number is not None:
        if not states:
            raise no_such_trial(conn, name, owner, number)
        _check_state(f"{name}/{number}", TrialState(states[0]), also)
    return _Scope(found, number is None, trials)


def _check_state(name: str, state: TrialState, also: tuple[TrialState, ...]) -> None:
    if state in FINAL_STATES and state not in also:
        way_out = f"`cifarsweep retry {name}` queues it again" if state in _RETRIED else "it stays as it is"
        raise StoreError(f"trial {name} is {state}, which is final; {way_out}")


def _set_study_request(
    conn: Connection, scope: _Scope, before: tuple[StopRequest | None, ...], request: StopRequest | None
) -> int:
    """Set the request for a whole study if it is one of `before`; returns the points that it had still to ask for."""
    if not scope.whole or scope.study.wish not in before:
        return 0
    _set_study(conn, scope, wish=request and request.value)
    return scope.points


def _request_stop(conn: Connection, trials: ColumnElement[bool], request: StopRequest, points: int) -> ControlResult:
    waiting = trial.c.state.in_((TrialState.QUEUED, TrialState.PAUSED)) & (trial.c.state != request.state.value)
    now = _end_expired(conn, trials, request.state) + _move(conn, trials, waiting, state=request.state.value)
    held = and_(trial.c.state == TrialState.LEASED.value, trial.c.wish.is_distinct_from(request.value))
    return ControlResult(now, _move(conn, trials, held, wish=request.value), points)


def _end_expired(conn: Connection, trials: ColumnElement[bool], state: TrialState) -> int:
    """End expired leases: their holders are gone, and perhaps no worker comes to take these trials over."""
    clock, now = backend_of(conn).read_clock(conn)
    expired = and_(trial.c.state == TrialState.LEASED.value, or_(trial.c.clock != clock, trial.c.lease_until < now))
    ended = update(trial).where(trials, expired).returning(trial.c.trial_id)
    values = {"state": state.value, "wish": None, "expired": False, "takeovers": trial.c.takeovers + 1}
    ids = list(conn.execute(ended.values(values)).scalars())
    if ids:
        closed = update(attempt).where(attempt.c.trial_id.in_(ids), attempt.c.ending.is_(None))
        conn.execute(closed.values(ending=AttemptEnd.TAKEN_OVER.value, ended_at=datetime.now(UTC)))
    return len(ids)


def _move(conn: Connection, *conditions: ColumnElement[bool], **values: Any) -> int:
    return conn.execute(update(trial).where(*conditions).values(values)).rowcount


def _set_study(conn: Connection, scope: _Scope, **values: Any) -> None:
    conn.execute(update(study).where(study.c.study_id == scope.study.study_id).values(values))
