"""What Optuna does not have yet: our trial table is the outbox, and a trial that is final and not `told` is due."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, or_, select, update

from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.store.metrics import read_series
from cifarsweep.store.optuna_view.storage import held_elsewhere
from cifarsweep.store.records import Series
from cifarsweep.store.schema import study, trial
from cifarsweep.store.trial_records import TrialRow
from cifarsweep.store.trials import trials_of

_FINAL = [state.value for state in FINAL_STATES]


def studies_waiting(conn: Connection) -> list[str]:
    """The studies that have something to sync; none while another process syncs."""
    waiting = select(trial.c.study_id).where(trial.c.told.is_(False), trial.c.state.in_(_FINAL))
    query = select(study.c.name).where(or_(study.c.study_id.in_(waiting), study.c.stale)).order_by(study.c.study_id)
    return [] if held_elsewhere(conn) else list(conn.execute(query).scalars())


def unsynced(conn: Connection) -> int:
    """Final trials that Optuna does not have yet, and studies whose failures it must forget."""
    waiting = select(func.count()).select_from(trial).where(trial.c.told.is_(False), trial.c.state.in_(_FINAL))
    stale = select(func.count()).select_from(study).where(study.c.stale)
    return int(conn.execute(waiting).scalar_one() + conn.execute(stale).scalar_one())


def read_unsynced(conn: Connection, study_id: int, metric: str, limit: int) -> list[tuple[TrialRow, Series | None]]:
    """The next trials to be synced, in their order, each with the series of the study's metric."""
    query = select(trial.c.number).where(trial.c.study_id == study_id, trial.c.told.is_(False))
    query = query.where(trial.c.state.in_(_FINAL)).order_by(trial.c.number).limit(limit)
    numbers = list(conn.execute(query).scalars())
    rows = trials_of(conn, study_id, numbers)
    series = read_series(conn, study_id, [metric], numbers)
    return [(row, series.get((row.number, metric))) for row in rows]


def mark_synced(conn: Connection, study_id: int, numbers: Sequence[int]) -> bool:
    """Mark trials as synced; False if trials were retried meanwhile, as what was synced is outdated."""
    query = select(study.c.stale).where(study.c.study_id == study_id).with_for_update(read=True)
    if conn.execute(query).scalar_one():
        return False
    conn.execute(update(trial).where(trial.c.study_id == study_id, trial.c.number.in_(numbers)).values(told=True))
    return True


def unmark_synced(conn: Connection, study_id: int) -> None:
    """Let every trial of the study be synced again."""
    conn.execute(update(study).where(study.c.study_id == study_id).values(stale=False))
    told = trial.c.study_id == study_id, trial.c.told.is_(True)
    conn.execute(update(trial).where(*told).values(told=False))
