"""Tells whether anything of a study or of a trial has changed, without reading its series."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, Double, cast, func, select

from cifarsweep.store import rows
from cifarsweep.store.schema import look, note, study, trial
from cifarsweep.store.study_rows import study_id

#: Identifies one state of a trial: each write advances the second number, each new lease the first.
TrialVersion = tuple[int, int, str]


def fingerprints(conn: Connection) -> dict[str, str]:
    """A text for each study, for which the series need not be read."""
    # Attempts only rise, and within an attempt so does flush_seq: two states of a study never have the same sums.
    # As floats: a value that was edited by hand can't make them overflow.
    summed = (trial.c.trial_id, trial.c.attempt, trial.c.flush_seq)
    sums = (func.count(), *(func.sum(cast(column, Double)) for column in summed))
    found: dict[int, list[object]] = defaultdict(list)
    grouped = select(trial.c.study_id, trial.c.state, *sums).group_by(trial.c.study_id, trial.c.state)
    for row in conn.execute(grouped.order_by(trial.c.study_id, trial.c.state)):
        found[row[0]].append([str(value) for value in row[1:]])
    for row in conn.execute(select(look).order_by(look.c.study_id, look.c.seeds)):
        found[row.study_id].append(row.seeds)
    # SQLite gives the number of a note that was deleted to the next one.
    for row in conn.execute(select(note.c.study_id, note.c.note_id, note.c.written_at).order_by(note.c.note_id)):
        found[row.study_id].append(f"note {row.note_id} {row.written_at}")
    columns = (study.c.study_id, study.c.name, study.c.sha256, study.c.wish, study.c.asked)
    studies = conn.execute(select(*columns).order_by(study.c.study_id)).all()
    return {rows.as_name(row.name): _digest([*row, *found[row.study_id]]) for row in studies}


def _digest(values: Sequence[object]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def trial_versions(conn: Connection, name: str, only: Sequence[int] | None = None) -> dict[int, TrialVersion]:
    """The version of each trial of a study, or of those, by its number: while it stays, so do its rows.

    Raises UnknownStudy.
    """
    columns = (trial.c.number, trial.c.attempt, trial.c.flush_seq, trial.c.state)
    query = select(*columns).where(trial.c.study_id == study_id(conn, name)).order_by(trial.c.number)
    if only is not None:
        query = query.where(trial.c.number.in_(only))
    return {row.number: (row.attempt, row.flush_seq, row.state) for row in conn.execute(query)}
