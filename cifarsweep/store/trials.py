"""Trials with their attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from cifarsweep.errors import StoreError
from cifarsweep.spec.program import Parameters
from cifarsweep.spec.settings import Settings
from cifarsweep.store import rows
from cifarsweep.store.database import Part, reading
from cifarsweep.store.queue.workers import workers_of
from cifarsweep.store.schema import attempt, cell, study, trial
from cifarsweep.store.sources import Sources, attempt_row
from cifarsweep.store.study_rows import read_study, study_id
from cifarsweep.store.times import TrainingTime, environments, training_times
from cifarsweep.store.trial_records import AttemptRow, TrialRow
from cifarsweep.store.unreadable_rows import naming_rows, reading_study


class Trials(Part):
    """Trials by study and number."""

    @reading_study
    def all(self, conn: Connection, study: str) -> list[TrialRow]:
        """Every trial of a study by number. Raises UnknownStudy, or UnreadableStudy where a row can't be read."""
        known = read_study(conn, study)
        found = trials_of(conn, known.study_id)
        planned = rows.planned(known.spec)
        for row in found:
            with rows.naming_trial(study, row.number):
                rows.check_cell(planned, row.cell, row.levels)
        return found

    def get(self, study: str, number: int) -> TrialRow:
        """One trial. Raises UnknownStudy, or StoreError with the numbers there are."""
        with naming_rows(self._db, study):
            return self._get(study, number)

    @reading
    def times(self, conn: Connection) -> list[TrainingTime]:
        """How long the done trials of every study took, by cell and device."""
        return training_times(conn)

    @reading
    def environments(self, conn: Connection, trial_ids: Sequence[int]) -> list[dict[str, str]]:
        """Devices and versions that finished those trials, each once, without the digests of images."""
        return environments(conn, trial_ids)

    @reading
    def _get(self, conn: Connection, study: str, number: int) -> TrialRow:
        owner = study_id(conn, study)
        found = trials_of(conn, owner, [number])
        if not found:
            raise no_such_trial(conn, study, owner, number)
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
        with rows.naming_trial(name, row.number):
            attempts[row.trial_id].append(attempt_row(rows.read(attempt, row), about))
    cells = {row.cell_id: row for row in conn.execute(select(cell).where(cell.c.study_id == owner))}
    sources = Sources(conn, *wanted)
    parsed: dict[int, dict[str, Any]] = {}
    found = []
    for row in conn.execute(select(trial).where(*wanted).order_by(trial.c.number)):
        with rows.naming_trial(name, row.number):
            if row.cell_id not in parsed:
                parsed[row.cell_id] = rows.cell_of(cells.get(row.cell_id), row.cell_id)
            found.append(_trial(rows.trial_of(row), parsed[row.cell_id], attempts[row.trial_id], sources))
    return found


def _trial(
    found: dict[str, Any], its_cell: dict[str, Any], attempts: Sequence[AttemptRow], sources: Sources
) -> TrialRow:
    its = its_cell["settings"]
    return TrialRow(
        number=found["number"],
        cell=its_cell["name"],
        levels=its_cell["levels"],
        own_settings=its if isinstance(its, Settings) else None,
        parameters=its.parameters if isinstance(its, Parameters) else None,
        seed=found["seed"],
        state=found["state"],
        outcome=found["outcome"],
        value=found["value"],
        final=found["final"] or {},
        step=found["step"],
        elapsed_s=found["elapsed_s"],
        weights_sha256=found["weights_sha256"] or "",
        attempts=tuple(attempts),
        reuse=sources.reuse(found),
        waits_for=sources.waits_for(found),
    )
