"""What became of studies and trials, for reports and for people who watch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, null, select

from cifarsweep.errors import StoreError, UnreadableStudy
from cifarsweep.spec.metrics import IMAGES_PER_SECOND
from cifarsweep.spec.types import Outcome, TrialState, Wish
from cifarsweep.store import columns, rows
from cifarsweep.store.database import backend_of
from cifarsweep.store.queue.workers import parsed_versions, versions_of
from cifarsweep.store.records import AttemptRow, StudyStatus, TrialRow, WorkerStatus
from cifarsweep.store.schema import attempt, cell, metric, study, trial, worker
from cifarsweep.store.studies import read, stored, study_id

_STATES = frozenset(state.value for state in TrialState)


def status(
    conn: Connection, name: str | None, *, speeds: bool = False, known: dict[tuple[int, str], str] | None = None
) -> list[StudyStatus]:
    """Counts, workers and time of one study or of all, oldest first, also of those that can't be read.

    `known` keeps from call to call what was wrong with each specification, which takes its time. Raises UnknownStudy.
    """
    query = select(*(column for column in study.columns if column is not study.c.spec)).order_by(study.c.study_id)
    if name is not None:
        query = query.where(study.c.study_id == study_id(conn, name))
    # Last of all the problem that people should mend first.
    wrong: dict[int, str] = {}
    counts, workers, pruned = _counts(conn, wrong), _workers(conn, speeds, wrong), _pruned(conn)
    found = []
    for row in conn.execute(query).all():
        problem = _problem(conn, row, {} if known is None else known) or wrong.get(row.study_id, "")
        found.append(_status(row, counts[row.study_id], workers[row.study_id], pruned.get(row.study_id, 0), problem))
    return found


def _problem(conn: Connection, row: Row[Any], known: dict[tuple[int, str], str]) -> str:
    """Why a study can't be read; empty where it can."""
    key = (row.study_id, row.sha256)
    if key not in known:
        try:
            stored(conn.execute(select(study).where(study.c.study_id == row.study_id)).one())
        except UnreadableStudy as error:
            return str(error)
        known[key] = ""
    return known[key]


def _status(
    row: Row[Any], counts: Mapping[str, tuple[int, float]], workers: list[WorkerStatus], pruned: int, problem: str
) -> StudyStatus:
    left = row.points - row.asked if type(row.points) is type(row.asked) is int else 0
    wish = Wish(row.wish) if row.wish in tuple(Wish) else None
    return StudyStatus(
        study=rows.as_name(row.name),
        trials={state: counts.get(state, (0, 0.0))[0] for state in TrialState},
        workers=tuple(workers),
        done_s=counts.get(TrialState.DONE, (0, 0.0))[1],
        to_ask=left if wish is None else 0,
        held=left if wish is not None else 0,
        wish=wish,
        pruned=pruned,
        unreadable=problem,
    )


def _counts(conn: Connection, wrong: dict[int, str]) -> Mapping[int, dict[str, tuple[int, float]]]:
    counts: dict[int, dict[str, tuple[int, float]]] = defaultdict(dict)
    query = select(trial.c.study_id, trial.c.state, func.count(), func.sum(trial.c.elapsed_s))
    for owner, state, number, seconds in conn.execute(query.group_by(trial.c.study_id, trial.c.state)).all():
        fine = isinstance(seconds, int | float) and math.isfinite(seconds)
        counts[owner][state] = (number, float(seconds) if fine else 0.0)
        if state not in _STATES or not fine:
            wrong.setdefault(owner, _first_problem(conn, owner))
    return counts


def _first_problem(conn: Connection, owner: int) -> str:
    """Of a study with a trial whose state has no name, or with times that have no sum."""
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
    """The newest images per second of a trial: one look into the key of its metrics."""
    newest = select(metric.c.value).where(metric.c.trial_id == trial.c.trial_id, metric.c.name == IMAGES_PER_SECOND)
    return newest.order_by(metric.c.step.desc()).limit(1).scalar_subquery()


def _workers(conn: Connection, speeds: bool, wrong: dict[int, str]) -> Mapping[int, list[WorkerStatus]]:
    clock, now = backend_of(conn).read_clock(conn)
    workers: dict[int, list[WorkerStatus]] = defaultdict(list)
    query = (
        select(trial, study.c.name.label("study"), (_speed() if speeds else null()).label("speed"))
        .outerjoin(study, study.c.study_id == trial.c.study_id)
        .where(trial.c.state == TrialState.LEASED.value)
        .order_by(trial.c.trial_id)
    )
    about = workers_of(conn, select(trial.c.worker_id).where(trial.c.state == TrialState.LEASED.value))
    for row in conn.execute(query):
        try:
            found = rows.read(trial, row)
        except columns.BadValue as error:
            wrong.setdefault(row.study_id, str(rows.unreadable(row.study, error, row.number)))
        else:
            workers[row.study_id].append(_worker(found, about, row.speed, clock, now))
    return workers


def _worker(found: dict[str, Any], about: Mapping[str, Known], speed: object, clock: str, now: float) -> WorkerStatus:
    here = found["clock"] == clock and found["beat"] is not None and found["lease_until"] is not None
    known = about.get(found["worker_id"], _NOBODY)
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
        images_per_s=float(speed) if isinstance(speed, int | float) and math.isfinite(speed) else None,
    )


class Known(NamedTuple):
    """What a worker said of itself."""

    host: str
    device: str
    versions: Mapping[str, str]


_NOBODY = Known("", "", {})


def workers_of(conn: Connection, ids: Any) -> dict[str, Known]:
    """What is known of those workers, by their ids.

    One whose row can't be read is as one that nobody knows: it may have worked for many studies. `db check` names it.
    """
    found = {}
    for row in conn.execute(select(worker).where(worker.c.worker_id.in_(ids))):
        with suppress(columns.BadValue):
            one = rows.read(worker, row)
            found[one["worker_id"]] = Known(one["host"], one["device"], parsed_versions(one["versions"]))
    return found


def trials(conn: Connection, name: str) -> list[TrialRow]:
    """Every trial of a study by number. Raises UnknownStudy, or UnreadableStudy where a row can't be read."""
    known = read(conn, name)
    found = trials_of(conn, known.study_id)
    planned = rows.planned(known.spec)
    for row in found:
        with rows.blaming(name, row.number):
            rows.check_cell(planned, row.cell, row.levels)
    return found


def one_trial(conn: Connection, name: str, number: int) -> TrialRow:
    """One trial by its number. Raises UnknownStudy, or StoreError with the numbers there are."""
    owner = study_id(conn, name)
    found = trials_of(conn, owner, [number])
    if not found:
        raise no_such_trial(conn, name, owner, number)
    return found[0]


def no_such_trial(conn: Connection, name: str, owner: int, number: int) -> StoreError:
    """The error for a number that no trial of the study with the id `owner` has."""
    last = conn.execute(select(func.max(trial.c.number)).where(trial.c.study_id == owner)).scalar_one()
    there = "it has none yet" if last is None else f"its trials are 0 to {last}"
    return StoreError(f"study {name!r} has no trial {number}; {there}")


def trials_of(conn: Connection, owner: int, numbers: Sequence[int] | None = None) -> list[TrialRow]:
    """The trials of the study with the id `owner` by number: all, or those of the given numbers.

    Raises UnreadableStudy where a row of them can't be read.
    """
    name = conn.execute(select(study.c.name).where(study.c.study_id == owner)).scalar()
    wanted = [trial.c.study_id == owner] + ([trial.c.number.in_(numbers)] if numbers is not None else [])
    about = workers_of(
        conn, select(attempt.c.worker_id).join(trial, trial.c.trial_id == attempt.c.trial_id).where(*wanted)
    )
    attempts: dict[int, list[AttemptRow]] = defaultdict(list)
    history = select(attempt, trial.c.number).join(trial, trial.c.trial_id == attempt.c.trial_id).where(*wanted)
    for row in conn.execute(history.order_by(attempt.c.trial_id, attempt.c.attempt)):
        with rows.blaming(name, row.number):
            attempts[row.trial_id].append(_attempt(rows.read(attempt, row), about))
    cells = {row.cell_id: row for row in conn.execute(select(cell).where(cell.c.study_id == owner))}
    parsed: dict[int, dict[str, Any]] = {}
    found = []
    for row in conn.execute(select(trial).where(*wanted).order_by(trial.c.number)):
        with rows.blaming(name, row.number):
            if row.cell_id not in parsed:
                parsed[row.cell_id] = rows.cell_of(cells.get(row.cell_id), row.cell_id)
            found.append(_trial(rows.trial_of(row), parsed[row.cell_id], attempts[row.trial_id]))
    return found


def _trial(found: dict[str, Any], its_cell: dict[str, Any], attempts: Sequence[AttemptRow]) -> TrialRow:
    return TrialRow(
        number=found["number"],
        cell=its_cell["name"],
        levels=its_cell["levels"],
        own_settings=its_cell["settings"],
        seed=found["seed"],
        state=found["state"],
        outcome=found["outcome"],
        value=found["value"],
        final=found["final"] or {},
        step=found["step"],
        elapsed_s=found["elapsed_s"],
        weights_sha256=found["weights_sha256"] or "",
        attempts=tuple(attempts),
    )


def _attempt(found: dict[str, Any], about: Mapping[str, Known]) -> AttemptRow:
    known, own = about.get(found["worker_id"], _NOBODY), found["versions"]
    return AttemptRow(
        attempt=found["attempt"],
        worker_id=found["worker_id"],
        host=known.host,
        device=found["device"] or known.device,
        versions=parsed_versions(own) if found["device"] else versions_of(known.versions, own),
        started_at=found["started_at"],
        ended_at=found["ended_at"],
        end=found["ending"],
        first_step=found["first_step"],
        error=found["error"] or "",
        traceback=found["traceback"] or "",
    )
