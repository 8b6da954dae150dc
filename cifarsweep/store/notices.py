"""Events that people are told of: which worker of many tells one, so that each is told once.

A worker may be killed at any moment. So the database knows who is to be told of a study's end, until somebody has told
it: any worker with the same target. Of a worker that was killed while it told, nobody knows whether it was heard; then
it is told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, delete, func, select, tuple_, update

from cifarsweep.errors import UnknownStudy
from cifarsweep.spec.types import FINAL_STATES, StopRequest, TrialState
from cifarsweep.store.database import Part, backend_of, reading, writing
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import notice, study, trial, watch
from cifarsweep.store.status import status
from cifarsweep.store.study_rows import study_id

#: Trials of one study whose failure is told; of more, the study's end says how many.
MOST_TRIALS = 5
#: Who claimed an event that long ago and has not told it was killed: telling takes two minutes at most. Seconds.
CLAIM_S = 300.0
#: Characters of an event in the database.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class StudyOver:
    """A study of which every trial is final."""

    study: str
    trials: Mapping[TrialState, int]
    done_s: float
    """Training time of the done trials, without what they took over."""
    event: str
    """Names this end of it: a study that is extended or retried ends again."""


class Watch(NamedTuple):
    """Somebody who is to be told when a study is over."""

    study: str
    target: str
    """The digest of an address or command."""


class Notices(Part):
    """Who tells what. Every method raises StoreUnavailable where the database is away."""

    @reading
    def study_over(self, conn: Connection, name: str) -> StudyOver | None:
        """Return how the study ended; None while it goes on, and where it is not there any more."""
        try:
            mine = trial.c.study_id == (owner := study_id(conn, name))
        except UnknownStudy:
            return None
        if _goes_on(conn, owner):
            return None
        (found,) = status(conn, name)
        if found.unreadable or found.to_ask or (found.held and found.stop_request is StopRequest.PAUSE):
            return None
        # Attempts only rise, so another end has another sum.
        count, attempts = conn.execute(select(func.count(), func.sum(trial.c.attempt)).where(mine)).one()
        return StudyOver(name, found.trials, found.done_s, f"over:{owner}:{count}:{attempts}")

    @reading
    def watched(self, conn: Connection, targets: Iterable[str]) -> frozenset[Watch]:
        """Return the ends of studies that those targets are still to be told of."""
        query = select(study.c.name, watch.c.target).join(study, study.c.study_id == watch.c.study_id)
        return frozenset(Watch(*row) for row in conn.execute(query.where(watch.c.target.in_(list(targets)))))

    @writing
    def watch(self, conn: Connection, watches: Iterable[Watch]) -> None:
        """Keep in mind who is to be told of which end; of studies that are not there, nobody."""
        ids: dict[str, int] = dict(conn.execute(select(study.c.name, study.c.study_id)).all())
        rows = [{"study_id": ids[one.study], "target": one.target} for one in watches if one.study in ids]
        if rows:
            conn.execute(backend_of(conn).insert_ignore(watch), rows)

    @writing
    def end_watch(self, conn: Connection, one: Watch, event: str) -> None:
        """Forget it where the event was told, unless the study goes on again."""
        owner = study_id(conn, one.study)
        told = conn.execute(select(notice.c.told_at).where(notice.c.event == event[:_LONGEST])).scalar()
        if told is not None and not _goes_on(conn, owner):
            conn.execute(delete(watch).where(tuple_(watch.c.study_id, watch.c.target) == (owner, one.target)))

    def claim_trial(self, lease: Lease, target: str) -> int | None:
        """Claim to tell a target of `given_up`. Return which trial of its study it is of those that are told.

        None where somebody else tells it, or where the target was told of `MOST_TRIALS` of the study.
        """
        event = given_up(lease, target)
        earlier = notice.c.event.startswith(f"{event.partition('/')[0]}/", autoescape=True)
        number = self._db.read(lambda conn: conn.execute(select(func.count()).where(earlier)).scalar_one())
        return int(number) + 1 if number < MOST_TRIALS and self.claim(event) else None

    def claim(self, event: str) -> bool:
        """Return whether the caller is to tell the event: the first one who asks is, and the next one if it is killed.

        Who has told it calls `told`.
        """
        token = uuid4().hex

        def work(conn: Connection) -> bool:
            it, now = notice.c.event == event[:_LONGEST], datetime.now(UTC)
            mine = {"token": token, "claimed_at": now}
            conn.execute(backend_of(conn).insert_ignore(notice), mine | {"event": event[:_LONGEST]})
            lost = notice.c.told_at.is_(None), notice.c.claimed_at < now - timedelta(seconds=CLAIM_S)
            conn.execute(update(notice).where(it, *lost).values(mine))
            # Of a claim whose answer was lost, the token is there already.
            return bool(conn.execute(select(notice.c.token).where(it)).scalar_one() == token)

        return self._db.write(work)

    @writing
    def told(self, conn: Connection, event: str) -> None:
        """Record that the event was told, or that it can't be: nobody is to try it again."""
        conn.execute(update(notice).where(notice.c.event == event[:_LONGEST]).values(told_at=datetime.now(UTC)))


def given_up(lease: Lease, target: str) -> str:
    """The event that the trial of a lease was given up, for a target."""
    return f"{target}:given up:{lease.folder}/{lease.number}:{lease.attempt}"


def _goes_on(conn: Connection, owner: int) -> bool:
    """Whether a trial of the study is not final."""
    opened = [state.value for state in TrialState if state not in FINAL_STATES]
    mine = trial.c.study_id == owner, trial.c.state.in_(opened)
    return conn.execute(select(trial.c.trial_id).where(*mine).limit(1)).first() is not None
