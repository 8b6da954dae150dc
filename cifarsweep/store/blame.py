"""Whether a trial or the machine is to blame for children that died, and how a machine takes the blame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection, case, select, update

from cifarsweep.spec.words import AttemptEnd, TrialState, Wish
from cifarsweep.store.tables import attempt, study, trial

#: A trial and the number of its attempt.
Crash = tuple[int, int]


def only_here(conn: Connection, worker_id: str, crashes: Sequence[Crash]) -> list[Crash]:
    """Those whose trials took no other worker's child down: such a trial is no evidence against this machine."""
    ends = (AttemptEnd.CRASHED.value, AttemptEnd.BAD_MACHINE.value)
    elsewhere = select(attempt.c.trial_id).where(
        attempt.c.trial_id.in_([trial_id for trial_id, _ in crashes]),
        attempt.c.worker_id != worker_id,
        attempt.c.ending.in_(ends),
    )
    suspects = set(conn.execute(elsewhere).scalars())
    return [crash for crash in crashes if crash[0] not in suspects]


def forgive(conn: Connection, worker_id: str, crashes: Sequence[Crash]) -> int:
    """Take the worker's crashes back; a trial that they poisoned is queued again. Returns how many were taken back.

    The attempts tell which were: only those that this worker ended as crashed, each once.
    """
    marked = 0
    for trial_id, group in groupby(sorted(crashes), key=lambda crash: crash[0]):
        # The trial first, as for everybody who locks both.
        row = conn.execute(select(trial).where(trial.c.trial_id == trial_id).with_for_update()).one()
        mine = update(attempt).where(
            attempt.c.trial_id == trial_id,
            attempt.c.attempt.in_([number for _, number in group]),
            attempt.c.worker_id == worker_id,
            attempt.c.ending == AttemptEnd.CRASHED.value,
        )
        count = conn.execute(mine.values(ending=AttemptEnd.BAD_MACHINE.value)).rowcount
        if count:
            # A checkpoint since then has set the count to 0.
            fewer = max(0, row.crashes - count)
            conn.execute(update(trial).where(trial.c.trial_id == trial_id).values(crashes=fewer))
            if row.state == TrialState.POISONED:
                _revive(conn, trial_id, row.study_id)
        marked += count
    return marked


def _revive(conn: Connection, trial_id: int, study_id: int) -> None:
    wish = select(study.c.wish).where(study.c.study_id == study_id).scalar_subquery()
    state = case(
        (wish == Wish.PAUSE.value, TrialState.PAUSED.value),
        (wish == Wish.CANCEL.value, TrialState.CANCELLED.value),
        else_=TrialState.QUEUED.value,
    )
    values = {"state": state, "not_before": None, "told": False}
    conn.execute(update(trial).where(trial.c.trial_id == trial_id).values(values))
    conn.execute(update(study).where(study.c.study_id == study_id).values(stale=True))
