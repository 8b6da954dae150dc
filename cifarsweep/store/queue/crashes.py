"""Crashes of children: is the trial at fault or the host, and how crashes of a faulty host are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection, case, func, select, update

from cifarsweep.spec.types import AttemptEnd, StopRequest, TrialState
from cifarsweep.store.database import Part, reading, writing
from cifarsweep.store.schema import attempt, study, trial, worker

#: A trial and the number of its attempt.
Crash = tuple[int, int]
#: Crashes of a trial on one host, without a new checkpoint in between, after which it is poisoned.
MOST_CRASHES = 5

#: The host of an attempt: several workers may run on one.
_MACHINE = func.coalesce(
    select(worker.c.host).where(worker.c.worker_id == attempt.c.worker_id).scalar_subquery(), attempt.c.worker_id
)


def trial_is_at_fault(conn: Connection, trial_id: int, crashes: int) -> bool:
    """Whether the trial caused its last crashes: there were many, or on two hosts."""
    ended = select(_MACHINE).where(attempt.c.trial_id == trial_id, attempt.c.ending == AttemptEnd.CRASHED.value)
    machines = conn.execute(ended.order_by(attempt.c.attempt.desc()).limit(crashes)).scalars()
    return crashes >= MOST_CRASHES or len(set(machines)) > 1


class Crashes(Part):
    """Crashes of a worker whose host may be at fault."""

    @reading
    def crashes_only_on(self, conn: Connection, worker_id: str, crashes: Sequence[Crash]) -> list[Crash]:
        """A worker's crashes whose trials crashed no child on another host.

        A trial that did is no evidence against this host.
        """
        here = select(worker.c.host).where(worker.c.worker_id == worker_id).scalar_subquery()
        ends = (AttemptEnd.CRASHED.value, AttemptEnd.BAD_MACHINE.value)
        elsewhere = select(attempt.c.trial_id).where(
            attempt.c.trial_id.in_([trial_id for trial_id, _ in crashes]),
            func.coalesce(here, worker_id) != _MACHINE,
            attempt.c.ending.in_(ends),
        )
        crashed_elsewhere = set(conn.execute(elsewhere).scalars())
        return [crash for crash in crashes if crash[0] not in crashed_elsewhere]

    @writing
    def retract_crashes(self, conn: Connection, worker_id: str, crashes: Sequence[Crash]) -> int:
        """Take a worker's crashes back, as its host was at fault; a trial that they poisoned is queued again.

        Returns how many were taken back: attempts that this worker ended as crashed, each once.
        """
        marked = 0
        for trial_id, group in groupby(sorted(crashes), key=lambda crash: crash[0]):
            # The trial first: everywhere that both are locked.
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
                fewer = max(0, row.crashes - count) if isinstance(row.crashes, int) else 0
                conn.execute(update(trial).where(trial.c.trial_id == trial_id).values(crashes=fewer))
                if row.state == TrialState.POISONED and not trial_is_at_fault(conn, trial_id, fewer):
                    _requeue(conn, trial_id, row.study_id)
            marked += count
        return marked


def _requeue(conn: Connection, trial_id: int, study_id: int) -> None:
    wish = select(study.c.wish).where(study.c.study_id == study_id).scalar_subquery()
    state = case(
        (wish == StopRequest.PAUSE.value, TrialState.PAUSED.value),
        (wish == StopRequest.CANCEL.value, TrialState.CANCELLED.value),
        else_=TrialState.QUEUED.value,
    )
    values = {"state": state, "not_before": None, "told": False}
    conn.execute(update(trial).where(trial.c.trial_id == trial_id).values(values))
    conn.execute(update(study).where(study.c.study_id == study_id).values(stale=True))
