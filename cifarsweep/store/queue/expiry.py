"""Expired leases: about once a second, in the whole fleet, a claim checks all leases and marks those that have expired.

A check reads every lease there is, so not every claim makes one; each takes what is marked. The moment of the last
check is a row of the database, and whoever claims when it is a second old makes the next. So there is nobody whose end
would stop it: a check that does not reach its COMMIT has not been, and the next claim makes it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, bindparam, select, update

from cifarsweep.spec.types import TrialState
from cifarsweep.store.database import Backend, backend_of
from cifarsweep.store.leases import LONGEST_S, clock_term, has_expired
from cifarsweep.store.prepared import execute
from cifarsweep.store.schema import lease_check, trial

#: Seconds from one check to the next, or a tenth of the lease where that is shorter.
CHECK_EVERY_S = 1.0
#: A moment before any check: the clock of a machine may have begun a second ago.
LONG_AGO = -LONGEST_S
#: Trials that one statement marks.
_MANY = 1000


def mark_expired(conn: Connection, lease_s: float) -> bool:
    """Mark the trials whose leases have expired, unless that was done within a second; returns whether it was now.

    No row is waited for: who holds one is writing it, and the next check sees what it has become.
    """
    backend = backend_of(conn)
    values = backend.clock_parameters() | {"p_every": min(CHECK_EVERY_S, lease_s / 10)}
    if execute(conn, _fresh(backend), values).first() is not None:
        return False
    execute(conn, _add(backend), {"clock": values["p_clock"], "moment": LONG_AGO})
    if execute(conn, _take(backend), values).first() is None:
        return False  # another one checks at this moment
    found = execute(conn, _expired(backend), backend.clock_parameters()).scalars().all()
    for start in range(0, len(found), _MANY):
        marked = trial.c.trial_id.in_(found[start : start + _MANY])
        conn.execute(update(trial).where(marked).values(expired=True))
    return True


@cache
def _fresh(backend: Backend) -> Any:
    """The row of this clock, if its moment is not a second old. A clock that was set back makes it old."""
    return select(lease_check.c.clock).where(_is_fresh(backend))


@cache
def _add(backend: Backend) -> Any:
    return backend.insert_ignore(lease_check)


@cache
def _take(backend: Backend) -> Any:
    """Set the moment, if it is still old and nobody else is setting it."""
    old = select(lease_check.c.clock).where(lease_check.c.clock == clock_term(), ~_is_fresh(backend))
    free = old.with_for_update(skip_locked=True).scalar_subquery()
    taken = update(lease_check).where(lease_check.c.clock == free).values(moment=backend.now_term())
    return taken.returning(lease_check.c.clock)


def _is_fresh(backend: Backend) -> ColumnElement[bool]:
    now = backend.now_term()
    every: ColumnElement[float] = bindparam("p_every", type_=Double())
    return (lease_check.c.clock == clock_term()) & lease_check.c.moment.between(now - every, now)


@cache
def _expired(backend: Backend) -> Any:
    # Once a statement: PostgreSQL reads its clock again for each trial that it looks at.
    now = select(backend.now_term()).scalar_subquery()
    unmarked = trial.c.state == TrialState.LEASED.value, ~trial.c.expired
    return select(trial.c.trial_id).where(*unmarked, has_expired(now)).with_for_update(skip_locked=True)
