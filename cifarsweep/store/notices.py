"""Events that people are told of: which worker of many tells one, so that each is told once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Connection, func, select

from cifarsweep.errors import UnknownStudy
from cifarsweep.spec.types import FINAL_STATES, StopRequest, TrialState
from cifarsweep.store.database import Part, backend_of, reading
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import notice, trial
from cifarsweep.store.status import status
from cifarsweep.store.study_rows import study_id

#: Trials of one study whose failure is told; of more, the study's end says how many.
MOST_TRIALS = 5


@dataclass(frozen=True, slots=True)
class StudyOver:
    """A study of which every trial is final."""

    study: str
    trials: Mapping[TrialState, int]
    done_s: float
    """Training time of the done trials, without what they took over."""
    event: str
    """Names this end of it: a study that is extended or retried ends again."""


class Notices(Part):
    """Who tells what. Every method raises StoreUnavailable where the database is away."""

    @reading
    def study_over(self, conn: Connection, name: str) -> StudyOver | None:
        """Return how the study ended; None while it goes on, and where it is not there any more."""
        try:
            mine = trial.c.study_id == (owner := study_id(conn, name))
        except UnknownStudy:
            return None
        final = [state.value for state in FINAL_STATES]
        if conn.execute(select(trial.c.trial_id).where(mine, trial.c.state.not_in(final)).limit(1)).first():
            return None
        (found,) = status(conn, name)
        if found.unreadable or found.to_ask or (found.held and found.stop_request is StopRequest.PAUSE):
            return None
        # Attempts only rise, so another end has another sum.
        count, attempts = conn.execute(select(func.count(), func.sum(trial.c.attempt)).where(mine)).one()
        return StudyOver(name, found.trials, found.done_s, f"over:{owner}:{count}:{attempts}")

    def claim_trial(self, lease: Lease) -> int | None:
        """Claim that the trial of a lease was given up. Return which one it is of those that are told of its study.

        None where somebody else tells it, or where `MOST_TRIALS` of the study were told.
        """
        study = f"given up:{lease.folder}:"
        number = self._db.read(
            lambda conn: conn.execute(
                select(func.count()).where(notice.c.event.startswith(study, autoescape=True))
            ).scalar_one()
        )
        if number >= MOST_TRIALS or not self.claim(f"{study}{lease.number}:{lease.attempt}"):
            return None
        return int(number) + 1

    def claim(self, event: str) -> bool:
        """Return whether the caller is to tell the event: the first one who asks is."""
        token = uuid4().hex

        def work(conn: Connection) -> bool:
            row = {"event": event[:200], "token": token, "claimed_at": datetime.now(UTC)}
            conn.execute(backend_of(conn).insert_ignore(notice), row)
            # Of a claim whose answer was lost, the token is there already.
            found = conn.execute(select(notice.c.token).where(notice.c.event == event[:200])).scalar_one()
            return bool(found == token)

        return self._db.write(work)
