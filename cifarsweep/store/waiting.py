"""Queued trials that train nothing, or not all of their steps, since others train them or have done so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import Connection, Select, and_, func, or_, select

from cifarsweep.spec.types import Outcome, TrialState
from cifarsweep.store.schema import cell, trial


def is_number(value: object) -> bool:
    """Whether a sum is one: PostgreSQL sums whole numbers to a Decimal, and an SQLite file may hold anything."""
    return isinstance(value, int | float | Decimal) and math.isfinite(value)


def waiting_trials(conn: Connection) -> Mapping[int, tuple[int, int, int]]:
    """By study: queued trials that take all steps of another one, those that wait for first ones, and these."""
    source = trial.alias()
    gives = source.c.state.in_([state.value for state in (TrialState.QUEUED, TrialState.LEASED, TrialState.DONE)])
    waits, whole = and_(trial.c.waits, gives), trial.c.branch_step.is_(None)
    # As planned, also where other settings train the same, or found since.
    planned = and_(whole, source.c.state == TrialState.DONE.value, trial.c.attempt == 0)
    twin = or_(planned, and_(waits, whole), trial.c.trial_id.in_(_known()))
    first = and_(waits, ~whole, ~twin)
    sums = func.count().filter(twin), func.count().filter(first), func.sum(trial.c.branch_step).filter(first)
    query = select(trial.c.study_id, *sums).outerjoin(source, source.c.trial_id == trial.c.source_id)
    query = query.where(trial.c.state == TrialState.QUEUED.value).group_by(trial.c.study_id)
    return {
        owner: (twins, branches, int(steps) if is_number(steps) else 0)
        for owner, twins, branches, steps in conn.execute(query)
    }


def _known() -> Select[int]:
    """Queued trials that nobody has claimed, of whose settings and seed another trial is done, on whatever device."""
    done, its = trial.alias(), cell.alias()
    query = select(trial.c.trial_id).join(cell, cell.c.cell_id == trial.c.cell_id)
    query = query.join(its, its.c.settings_sha256 == cell.c.settings_sha256)
    query = query.join(done, and_(done.c.cell_id == its.c.cell_id, done.c.seed == trial.c.seed))
    unclaimed = trial.c.state == TrialState.QUEUED.value, trial.c.attempt == 0
    whole = done.c.state == TrialState.DONE.value, done.c.outcome != Outcome.PRUNED.value
    return query.where(*unclaimed, *whole, done.c.rows_digest.is_not(None))
