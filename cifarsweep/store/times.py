"""What trials that are done were trained with, and how long it took: for what is planned next."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from cifarsweep.spec.provenance import DEVICE, without_data
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import Outcome, TrialState
from cifarsweep.store.columns import BadValue, settings
from cifarsweep.store.queue.workers import parsed_versions, versions_of
from cifarsweep.store.schema import attempt, cell, trial, worker

#: Trials whose environments are read at once.
_MANY = 1000


@dataclass(frozen=True, slots=True)
class TrainingTime:
    """The seconds that the done trials of a cell took on a device, and their steps."""

    settings: Settings
    device: str
    steps: int
    seconds: float


def training_times(conn: Connection) -> list[TrainingTime]:
    """The times of every cell of every study with a device that is known."""
    device = func.coalesce(attempt.c.device, worker.c.device)
    query = (
        select(cell.c.settings, device, func.sum(trial.c.step), func.sum(trial.c.elapsed_s))
        .join(trial, trial.c.cell_id == cell.c.cell_id)
        .join(attempt, _last_attempt())
        .outerjoin(worker, worker.c.worker_id == attempt.c.worker_id)
        .where(trial.c.state == TrialState.DONE.value, trial.c.outcome == Outcome.FINISHED.value)
        .group_by(cell.c.cell_id, cell.c.settings, device)
    )
    found = []
    for text, name, steps, seconds in conn.execute(query):
        with suppress(BadValue, TypeError, ValueError):  # edited by hand: no time
            its = settings(text)
            if isinstance(its, Settings) and name and steps > 0 and seconds > 0:
                found.append(TrainingTime(its, str(name), int(steps), float(seconds)))
    return found


def environments(conn: Connection, trial_ids: Sequence[int]) -> list[dict[str, str]]:
    """Devices and versions that finished those trials, each once, without the digests of images."""
    columns = (attempt.c.device, attempt.c.versions, worker.c.device, worker.c.versions)
    found: list[dict[str, str]] = []
    for start in range(0, len(trial_ids), _MANY):
        query = select(*columns).join(trial, _last_attempt())
        query = query.outerjoin(worker, worker.c.worker_id == attempt.c.worker_id).distinct()
        query = query.where(trial.c.trial_id.in_(trial_ids[start : start + _MANY]))
        for device, own, of_worker, worker_versions in conn.execute(query):
            versions = parsed_versions(own) if device else versions_of(parsed_versions(worker_versions), own)
            its = {**without_data(versions), DEVICE: device or of_worker or ""}
            if its not in found:
                found.append(its)
    return found


def _last_attempt() -> ColumnElement[bool]:
    return and_(attempt.c.trial_id == trial.c.trial_id, attempt.c.attempt == trial.c.attempt)
