"""What became of studies and trials, for reports and for people who watch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, null, select

from cifarsweep.errors import StoreError
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.words import IMAGES_PER_SECOND, AttemptEnd, Outcome, TrialState, Wish
from cifarsweep.store.clock import read_clock
from cifarsweep.store.records import AttemptRow, StudyStatus, TrialRow, WorkerStatus
from cifarsweep.store.studies import UNKNOWN, parsed_levels, study_id
from cifarsweep.store.tables import attempt, cell, metric, study, trial, worker
from cifarsweep.store.workers import parsed_versions, versions_of


def status(conn: Connection, name: str | None, *, speeds: bool = False) -> list[StudyStatus]:
    """Counts, workers and time of one study or of all, oldest first. Raises UnknownStudy."""
    query = select(study).order_by(study.c.study_id)
    if name is not None:
        query = query.where(study.c.study_id == study_id(conn, name))
    counts = _counts(conn)
    workers = _workers(conn, speeds)
    pruned = _pruned(conn)
    return [
        StudyStatus(
            study=row.name,
            trials={state: counts[row.study_id].get(state, (0, 0.0))[0] for state in TrialState},
            workers=tuple(workers[row.study_id]),
            done_s=counts[row.study_id].get(TrialState.DONE, (0, 0.0))[1],
            to_ask=row.points - row.asked if row.points is not None and row.wish is None else 0,
            held=row.points - row.asked if row.points is not None and row.wish is not None else 0,
            wish=Wish(row.wish) if row.wish else None,
            pruned=pruned.get(row.study_id, 0),
        )
        for row in conn.execute(query)
    ]


def _counts(conn: Connection) -> Mapping[int, dict[TrialState, tuple[int, float]]]:
    counts: dict[int, dict[TrialState, tuple[int, float]]] = defaultdict(dict)
    query = select(trial.c.study_id, trial.c.state, func.count(), func.sum(trial.c.elapsed_s))
    for owner, state, number, seconds in conn.execute(query.group_by(trial.c.study_id, trial.c.state)):
        counts[owner][TrialState(state)] = (number, float(seconds))
    return counts


def _pruned(conn: Connection) -> Mapping[int, int]:
    searches = select(study.c.study_id).where(study.c.points.is_not(None))
    query = select(trial.c.study_id, func.count()).where(trial.c.outcome == Outcome.PRUNED.value)
    rows = conn.execute(query.where(trial.c.study_id.in_(searches)).group_by(trial.c.study_id))
    return {owner: count for owner, count in rows}


def _speed() -> ColumnElement[float | None]:
    """The newest images per second of a trial: one look into the key of its metrics."""
    rows = select(metric.c.value).where(metric.c.trial_id == trial.c.trial_id, metric.c.name == IMAGES_PER_SECOND)
    return rows.order_by(metric.c.step.desc()).limit(1).scalar_subquery()


def _workers(conn: Connection, speeds: bool) -> Mapping[int, list[WorkerStatus]]:
    clock, now = read_clock(conn)
    workers: dict[int, list[WorkerStatus]] = defaultdict(list)
    query = (
        select(trial, worker.c.host, worker.c.device, (_speed() if speeds else null()).label("speed"))
        .outerjoin(worker, worker.c.worker_id == trial.c.worker_id)
        .where(trial.c.state == TrialState.LEASED.value)
        .order_by(trial.c.trial_id)
    )
    for row in conn.execute(query):
        here = row.clock == clock
        workers[row.study_id].append(
            WorkerStatus(
                worker_id=row.worker_id,
                host=row.host or "",
                device=row.device or "",
                trial=row.number,
                attempt=row.attempt,
                step=row.step,
                last_beat_s=max(0.0, now - row.beat) if here else None,
                expired=not here or row.lease_until < now,
                slot=row.slot,
                elapsed_s=row.elapsed_s,
                images_per_s=row.speed,
            )
        )
    return workers


def trials(conn: Connection, name: str) -> list[TrialRow]:
    """Every trial of a study by number. Raises UnknownStudy."""
    return trials_of(conn, study_id(conn, name))


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
    """The trials of the study with the id `owner` by number: all, or those of the given numbers."""
    wanted = [trial.c.study_id == owner] + ([trial.c.number.in_(numbers)] if numbers is not None else [])
    attempts: dict[int, list[AttemptRow]] = defaultdict(list)
    history = (
        select(attempt, worker.c.host, worker.c.device.label("of_worker"), worker.c.versions.label("worker_versions"))
        .join(trial, trial.c.trial_id == attempt.c.trial_id)
        .outerjoin(worker, worker.c.worker_id == attempt.c.worker_id)
        .where(*wanted)
        .order_by(attempt.c.trial_id, attempt.c.attempt)
    )
    for row in conn.execute(history):
        attempts[row.trial_id].append(_attempt(row))
    cells = {row.cell_id: row for row in conn.execute(select(cell).where(cell.c.study_id == owner))}
    settings = {cell_id: parsed_settings(row.settings) for cell_id, row in cells.items()}
    rows = conn.execute(select(trial).where(*wanted).order_by(trial.c.number))
    return [_trial(row, cells[row.cell_id], settings[row.cell_id], attempts[row.trial_id]) for row in rows]


def _trial(row: Row[Any], cell_row: Row[Any], settings: Settings | None, attempts: Sequence[AttemptRow]) -> TrialRow:
    return TrialRow(
        number=row.number,
        cell=cell_row.name,
        levels=parsed_levels(cell_row.levels),
        own_settings=settings,
        seed=row.seed,
        state=TrialState(row.state),
        outcome=Outcome(row.outcome) if row.outcome else None,
        value=row.value,
        final=parsed_final(row.final),
        step=row.step,
        elapsed_s=row.elapsed_s,
        weights_sha256=row.weights_sha256 or "",
        attempts=tuple(attempts),
    )


def _attempt(row: Row[Any]) -> AttemptRow:
    return AttemptRow(
        attempt=row.attempt,
        worker_id=row.worker_id,
        host=row.host or "",
        device=row.device or row.of_worker or "",
        versions=parsed_versions(row.versions) if row.device else _versions(row),
        started_at=row.started_at,
        ended_at=row.ended_at,
        end=AttemptEnd(row.ending) if row.ending else None,
        first_step=row.first_step,
        error=row.error or "",
        traceback=row.traceback or "",
    )


def _versions(row: Row[Any]) -> dict[str, str]:
    return versions_of(json.loads(row.worker_versions or "{}"), row.versions)


def parsed_settings(text: str) -> Settings | None:
    """The settings of a cell; None where it was imported, and nobody knows them."""
    return None if text == UNKNOWN else Settings.model_validate_json(text)


def parsed_final(text: str | None) -> dict[str, float]:
    """The last metrics; what JSON has no number for is stored as a text that float() reads."""
    return {name: float(value) for name, value in json.loads(text or "{}").items()}
