"""What changes while workers work, for people who watch: read in one transaction of a few milliseconds."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Double, cast, func, select

from cifarsweep.spec.metrics import EPOCH, TRAIN_LOSS, VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.database import backend_of
from cifarsweep.store.records import StudyStatus
from cifarsweep.store.schema import attempt, cell, look, metric, study, trial, worker
from cifarsweep.store.studies import study_id
from cifarsweep.store.trials import status

#: Of these a running trial shows its newest value.
NEWEST = (EPOCH, TRAIN_LOSS, VAL_ACCURACY)
#: As many of the newest errors are told.
ERRORS = 20
#: A worker that nobody has heard of for so many seconds, and that holds no trial, has gone without a word.
_GONE_S = 300.0

#: Names one state of a trial: whoever writes for it advances the second or, with a new lease, the first.
Mark = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that is there. `last_beat_s` is None where its machine was started again since."""

    worker_id: str
    host: str
    device: str
    slots: int
    last_beat_s: float | None


@dataclass(frozen=True, slots=True)
class RunningSeen:
    """A trial that a worker holds, with the newest value of each of `NEWEST` that it has."""

    cell: str
    seed: int
    newest: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ErrorSeen:
    """An attempt that ended badly."""

    study: str
    trial: int
    attempt: int
    end: str
    at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """Everything that is under way at one moment."""

    studies: Sequence[StudyStatus]
    stamps: Mapping[str, str]
    """By study: another text as soon as anything of it has changed."""
    running: Mapping[tuple[str, int], RunningSeen]
    """By study and number of the trial."""
    workers: Sequence[WorkerSeen]
    errors: Sequence[ErrorSeen]
    """Newest first."""


def pulse(conn: Connection, known: dict[tuple[int, str], str] | None = None) -> Pulse:
    """Look at all studies at once; `known` as for `status`."""
    return Pulse(status(conn, None, known=known), stamps(conn), _running(conn), _workers(conn), _errors(conn))


def stamps(conn: Connection) -> dict[str, str]:
    """A text for each study, for which the series need not be read."""
    # Attempts only rise, and within an attempt so does flush_seq: two states of a study never have the same sums.
    # As floats, which no value that somebody wrote there by hand makes overflow.
    summed = (trial.c.trial_id, trial.c.attempt, trial.c.flush_seq)
    sums = (func.count(), *(func.sum(cast(column, Double)) for column in summed))
    found: dict[int, list[object]] = defaultdict(list)
    grouped = select(trial.c.study_id, trial.c.state, *sums).group_by(trial.c.study_id, trial.c.state)
    for row in conn.execute(grouped.order_by(trial.c.study_id, trial.c.state)):
        found[row[0]].append([str(value) for value in row[1:]])
    for row in conn.execute(select(look).order_by(look.c.study_id, look.c.seeds)):
        found[row.study_id].append(row.seeds)
    columns = (study.c.study_id, study.c.name, study.c.sha256, study.c.wish, study.c.asked)
    studies = conn.execute(select(*columns).order_by(study.c.study_id)).all()
    return {rows.as_name(row.name): _digest([*row, *found[row.study_id]]) for row in studies}


def _digest(values: Sequence[object]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def marks(conn: Connection, name: str, only: Sequence[int] | None = None) -> dict[int, Mark]:
    """The mark of each trial of a study, or of those, by its number: while it stays, so do its rows.

    Raises UnknownStudy.
    """
    columns = (trial.c.number, trial.c.attempt, trial.c.flush_seq, trial.c.state)
    query = select(*columns).where(trial.c.study_id == study_id(conn, name)).order_by(trial.c.number)
    if only is not None:
        query = query.where(trial.c.number.in_(only))
    return {row.number: (row.attempt, row.flush_seq, row.state) for row in conn.execute(query)}


def _running(conn: Connection) -> dict[tuple[str, int], RunningSeen]:
    query = (
        select(trial.c.trial_id, study.c.name, trial.c.number, cell.c.name.label("cell"), trial.c.seed)
        .join(study, study.c.study_id == trial.c.study_id)
        .join(cell, cell.c.cell_id == trial.c.cell_id)
        .where(trial.c.state == TrialState.LEASED.value)
    )
    newest = _newest(conn)
    return {
        (rows.as_name(row.name), row.number): RunningSeen(row.cell, row.seed, newest.get(row.trial_id, {}))
        for row in conn.execute(query)
        if isinstance(row.cell, str)
    }


def _newest(conn: Connection) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for name in NEWEST:
        # The end of a range of the key, whatever the length of the series.
        last = select(func.max(metric.c.step)).where(metric.c.trial_id == trial.c.trial_id, metric.c.name == name)
        query = (
            select(metric)
            .join(trial, trial.c.trial_id == metric.c.trial_id)
            .where(trial.c.state == TrialState.LEASED.value, metric.c.name == name)
            .where(metric.c.step == last.correlate(trial).scalar_subquery())
        )
        for row in conn.execute(query):
            value = columns.SPECIAL.get(row.kind) if row.kind else row.value
            if isinstance(value, int | float):
                found[row.trial_id][name] = value
    return found


def _workers(conn: Connection) -> list[WorkerSeen]:
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
                seen.append(WorkerSeen(*who, found["slots"], age))
    return seen


def _errors(conn: Connection) -> list[ErrorSeen]:
    query = (
        select(attempt, study.c.name, trial.c.number)
        .join(trial, trial.c.trial_id == attempt.c.trial_id)
        .join(study, study.c.study_id == trial.c.study_id)
        .where(attempt.c.error.is_not(None))
        .order_by(attempt.c.ended_at.desc())
        .limit(ERRORS)
    )
    seen = []
    for row in conn.execute(query):
        with suppress(columns.BadValue):
            found = rows.read(attempt, row)
            ended = (found["attempt"], found["ending"] or "", found["ended_at"], found["error"])
            seen.append(ErrorSeen(rows.as_name(row.name), row.number, *ended))
    return seen
