"""Progress of studies, and a snapshot of all that runs: read in one transaction of a few milliseconds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, null, select

from cifarsweep.errors import UnreadableStudy
from cifarsweep.spec.metrics import IMAGES_PER_SECOND, VAL_ACCURACY
from cifarsweep.spec.types import AttemptEnd, Outcome, StopRequest, TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.database import backend_of
from cifarsweep.store.fingerprints import fingerprints
from cifarsweep.store.live_trials import LiveTrial, newest_values, running
from cifarsweep.store.queue.workers import NO_WORKER, KnownWorker, workers_of
from cifarsweep.store.schema import attempt, metric, study, trial, worker
from cifarsweep.store.status_records import StudyStatus, WorkerStatus
from cifarsweep.store.study_rows import stored, study_id
from cifarsweep.store.waiting import is_number, waiting_trials

#: How many of the newest errors are shown.
ERRORS = 20
#: A worker without a heartbeat for so many seconds and without a trial counts as gone.
_GONE_S = 300.0

_STATES = frozenset(state.value for state in TrialState)


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A live worker. `last_beat_s` is None if its machine was rebooted since."""

    worker_id: str
    host: str
    device: str
    slots: int
    last_beat_s: float | None


@dataclass(frozen=True, slots=True)
class RecentError:
    """An attempt that ended badly."""

    study: str
    trial: int
    attempt: int
    end: str
    at: datetime | None
    error: str


class _Count(NamedTuple):
    """Trials of one state, their training time, what they took over of it, steps, and those that took over all."""

    trials: int = 0
    elapsed_s: float = 0.0
    reused_s: float = 0.0
    steps: float = 0.0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is under way at one moment."""

    studies: Sequence[StudyStatus]
    fingerprints: Mapping[str, str]
    """By study: a text that changes with anything of it."""
    running: Mapping[tuple[str, int], LiveTrial]
    """By study and number of the trial."""
    workers: Sequence[LiveWorker]
    errors: Sequence[RecentError]
    """Newest first."""


def snapshot(conn: Connection, readable: set[tuple[int, str]] | None = None) -> Snapshot:
    """Read the snapshot; `readable` as for `status`."""
    return Snapshot(
        status(conn, None, readable=readable), fingerprints(conn), running(conn), _workers(conn), _errors(conn)
    )


def status(
    conn: Connection, name: str | None, *, live: bool = False, readable: set[tuple[int, str]] | None = None
) -> list[StudyStatus]:
    """Counts, workers and time of one study or of all, oldest first, also of those that can't be read.

    `readable` keeps which specifications can be read from call to call: that takes its time. Raises UnknownStudy.
    """
    query = select(*(column for column in study.columns if column is not study.c.spec)).order_by(study.c.study_id)
    if name is not None:
        query = query.where(study.c.study_id == study_id(conn, name))
    wrong: dict[int, str] = {}
    counts, workers, pruned = _counts(conn, wrong), _busy_workers(conn, live, wrong), _pruned(conn)
    waiting = waiting_trials(conn)
    found = []
    for row in conn.execute(query).all():
        problem = _problem(conn, row, set() if readable is None else readable) or wrong.get(row.study_id, "")
        known = _status(row, counts[row.study_id], workers[row.study_id], pruned.get(row.study_id, 0), problem)
        twins, branches, steps = waiting.get(row.study_id, (0, 0, 0))
        found.append(replace(known, waiting_twins=twins, waiting_branches=branches, waiting_steps=steps))
    return found


def _problem(conn: Connection, row: Row[Any], readable: set[tuple[int, str]]) -> str:
    """Why a study can't be read; empty where it can."""
    if (row.study_id, row.sha256) not in readable:
        try:
            stored(conn.execute(select(study).where(study.c.study_id == row.study_id)).one())
        except UnreadableStudy as error:
            return str(error)
        readable.add((row.study_id, row.sha256))
    return ""


def _status(
    row: Row[Any], counts: Mapping[str, _Count], workers: list[WorkerStatus], pruned: int, problem: str
) -> StudyStatus:
    left, request = _points_left(row), _stop_request(row)
    done = counts[TrialState.DONE]
    return StudyStatus(
        study=rows.as_name(row.name),
        trials={state: counts[state].trials for state in TrialState},
        workers=tuple(workers),
        done_s=done.elapsed_s - done.reused_s,
        to_ask=points_to_ask(row),
        held=left if request is not None else 0,
        stop_request=request,
        pruned=pruned,
        unreadable=problem,
        reused=done.reused,
        reused_s=done.reused_s,
        done_steps=int(done.steps),
    )


def points_to_ask(row: Row[Any]) -> int:
    """The points that a study may ask for now, from its columns `points`, `asked` and `wish`."""
    return _points_left(row) if _stop_request(row) is None else 0


def _points_left(row: Row[Any]) -> int:
    return row.points - row.asked if type(row.points) is type(row.asked) is int else 0


def _stop_request(row: Row[Any]) -> StopRequest | None:
    return StopRequest(row.wish) if row.wish in tuple(StopRequest) else None


def _counts(conn: Connection, wrong: dict[int, str]) -> Mapping[int, dict[str, _Count]]:
    counts: dict[int, dict[str, _Count]] = defaultdict(lambda: defaultdict(_Count))
    whole = (trial.c.reused_steps > 0) & (trial.c.reused_steps >= trial.c.step)
    sums = *map(func.sum, (trial.c.elapsed_s, trial.c.reused_s, trial.c.step)), func.count().filter(whole)
    query = select(trial.c.study_id, trial.c.state, func.count(), *sums)
    for owner, state, number, *summed, reused in conn.execute(query.group_by(trial.c.study_id, trial.c.state)).all():
        fine = all(is_number(each) for each in summed)
        elapsed_s, reused_s, steps = map(float, summed) if fine else (0.0, 0.0, 0.0)
        counts[owner][state] = _Count(number, elapsed_s, reused_s, steps, reused)
        if state not in _STATES or not fine:
            wrong.setdefault(owner, _first_problem(conn, owner))
    return counts


def _first_problem(conn: Connection, owner: int) -> str:
    """The first problem of a study with an unknown state, or with times that have no sum."""
    found = conn.execute(select(trial).where(trial.c.study_id == owner))
    named = conn.execute(select(study.c.name).where(study.c.study_id == owner)).scalar()
    for row in found:
        if problem := next(iter(rows.problems(trial, row)), None):
            return str(rows.unreadable(named, problem, row.number))
    return ""


def _pruned(conn: Connection) -> Mapping[int, int]:
    searches = select(study.c.study_id).where(study.c.points.is_not(None))
    query = select(trial.c.study_id, func.count()).where(trial.c.outcome == Outcome.PRUNED.value)
    found = conn.execute(query.where(trial.c.study_id.in_(searches)).group_by(trial.c.study_id))
    return {owner: count for owner, count in found}


def _speed() -> ColumnElement[float | None]:
    """The newest images per second of a trial, by the key of its metrics."""
    newest = select(metric.c.value).where(metric.c.trial_id == trial.c.trial_id, metric.c.name == IMAGES_PER_SECOND)
    return newest.order_by(metric.c.step.desc()).limit(1).scalar_subquery()


def _busy_workers(conn: Connection, live: bool, wrong: dict[int, str]) -> Mapping[int, list[WorkerStatus]]:
    clock, now = backend_of(conn).read_clock(conn)
    workers: dict[int, list[WorkerStatus]] = defaultdict(list)
    query = (
        select(trial, study.c.name.label("study"), (_speed() if live else null()).label("speed"))
        .outerjoin(study, study.c.study_id == trial.c.study_id)
        .where(trial.c.state == TrialState.LEASED.value)
        .order_by(trial.c.trial_id)
    )
    newest = newest_values(conn) if live else {}
    about = workers_of(conn, select(trial.c.worker_id).where(trial.c.state == TrialState.LEASED.value))
    for row in conn.execute(query):
        try:
            found = rows.read(trial, row)
        except columns.BadValue as error:
            wrong.setdefault(row.study_id, str(rows.unreadable(row.study, error, row.number)))
        else:
            one = _worker_status(found, about, row.speed, clock, now)
            metric, values = newest.get(row.trial_id, (VAL_ACCURACY, {}))
            workers[row.study_id].append(replace(one, metric=metric, newest=values))
    return workers


def _worker_status(
    found: dict[str, Any], about: Mapping[str, KnownWorker], speed: object, clock: str, now: float
) -> WorkerStatus:
    here = found["clock"] == clock and found["beat"] is not None and found["lease_until"] is not None
    known = about.get(found["worker_id"], NO_WORKER)
    return WorkerStatus(
        worker_id=found["worker_id"] or "",
        host=known.host,
        device=known.device,
        trial=found["number"],
        attempt=found["attempt"],
        step=found["step"],
        last_beat_s=max(0.0, now - found["beat"]) if here else None,
        expired=not here or found["lease_until"] < now,
        slot=found["slot"],
        elapsed_s=found["elapsed_s"],
        total_steps=found["total_steps"],
        images_per_s=float(speed) if isinstance(speed, int | float) and math.isfinite(speed) else None,
    )


def _workers(conn: Connection) -> list[LiveWorker]:
    clock, now = backend_of(conn).read_clock(conn)
    busy = set(conn.execute(select(trial.c.worker_id).where(trial.c.state == TrialState.LEASED.value)).scalars())
    seen = []
    for row in conn.execute(select(worker).where(worker.c.ended_at.is_(None)).order_by(worker.c.started_at)):
        # One that can't be read is named by `db check`.
        with suppress(columns.BadValue):
            found = rows.read(worker, row)
            age = max(0.0, now - found["beat"]) if found["clock"] == clock else None
            if found["worker_id"] in busy or (age is not None and age < _GONE_S):
                who = (found["worker_id"], found["host"], found["device"])
                seen.append(LiveWorker(*who, found["slots"], age))
    return seen


def _errors(conn: Connection) -> list[RecentError]:
    query = (
        select(attempt, study.c.name, trial.c.number)
        .join(trial, trial.c.trial_id == attempt.c.trial_id)
        .join(study, study.c.study_id == trial.c.study_id)
        .where(attempt.c.error.is_not(None), attempt.c.ending != AttemptEnd.DONE.value)
        .order_by(attempt.c.ended_at.desc())
        .limit(ERRORS)
    )
    seen = []
    for row in conn.execute(query):
        with suppress(columns.BadValue):
            found = rows.read(attempt, row)
            ended = (found["attempt"], found["ending"] or "", found["ended_at"], found["error"])
            seen.append(RecentError(rows.as_name(row.name), row.number, *ended))
    return seen
