"""`db check`: what is wrong in a database, in sentences."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, func, inspect, or_, select

from cifarsweep.errors import StoreError, StoreUnavailable
from cifarsweep.spec.types import FINAL_STATES, TrialState
from cifarsweep.store.database import Database, backend_of
from cifarsweep.store.optuna_view.projection import NUMBER_ATTRIBUTE
from cifarsweep.store.optuna_view.storage import OptunaLink
from cifarsweep.store.schema import attempt, checkpoint, metric, study, trial
from cifarsweep.store.unreadable_rows import everywhere

_FINAL = [state.value for state in FINAL_STATES]
#: Sentences of one kind before the rest is only counted.
_MOST = 20


def check(db: Database) -> list[str]:
    """One sentence for each problem of the database."""
    findings: list[str] = []
    ours = (everywhere, _orphans, stale_leases, _attempts, _beyond, _reused, _digests)
    for step in (db.backend.integrity_errors, *ours):
        findings += _findings(partial(db.read, partial(_listed, step)))
    return findings + _findings(partial(_optuna, db))


def _findings(check: Callable[[], list[str]]) -> list[str]:
    """The findings of one check; an error of the database, as in a damaged file, is a finding too."""
    try:
        return _shortened(check())
    except StoreUnavailable:
        raise
    except StoreError as error:
        return [str(error)]


def _listed(check: Callable[[Connection], Iterator[str]], conn: Connection) -> list[str]:
    return list(check(conn))


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - _MOST
    return sentences if more <= 0 else [*sentences[:_MOST], f"... and {more} more of this kind"]


def _digests(conn: Connection) -> Iterator[str]:
    for row in conn.execute(select(study.c.name, study.c.spec, study.c.sha256)):
        if isinstance(row.spec, str) and hashlib.sha256(row.spec.encode(errors="replace")).hexdigest() != row.sha256:
            yield f"study {row.name}: cs_study.spec is not what cs_study.sha256 was made of: it was edited"


def _orphans(conn: Connection) -> Iterator[str]:
    query = select(metric.c.trial_id, func.count()).where(metric.c.trial_id.not_in(select(trial.c.trial_id)))
    for trial_id, rows in conn.execute(query.group_by(metric.c.trial_id)):
        yield f"cs_metric: {rows} rows belong to trial_id {trial_id}, which is not there"


def stale_leases(conn: Connection) -> Iterator[str]:
    """One sentence for each trial whose lease has expired."""
    clock, now = backend_of(conn).read_clock(conn)
    stale = or_(trial.c.clock != clock, trial.c.lease_until < now)
    query = _named().where(trial.c.state == TrialState.LEASED.value, stale).order_by(trial.c.trial_id)
    for name, number in conn.execute(query):
        yield f"trial {name}/{number}: its lease has run out; the next worker takes it over"


def _attempts(conn: Connection) -> Iterator[str]:
    open_attempts = select(func.count()).where(attempt.c.trial_id == trial.c.trial_id, attempt.c.ending.is_(None))
    count = open_attempts.scalar_subquery()
    leased = trial.c.state == TrialState.LEASED.value
    wrong = or_(and_(leased, count != 1), and_(~leased, count != 0))
    for name, number, state, found in conn.execute(_named().add_columns(trial.c.state, count).where(wrong)):
        yield f"trial {name}/{number}: is {state} and has {found} attempts that have not ended"


def _beyond(conn: Connection) -> Iterator[str]:
    last = select(func.max(metric.c.step)).where(metric.c.trial_id == trial.c.trial_id).scalar_subquery()
    query = _named().add_columns(last, trial.c.step).where(trial.c.state == TrialState.DONE.value, last > trial.c.step)
    for name, number, found, step in conn.execute(query):
        yield f"trial {name}/{number}: has metrics up to step {found}, but ended at step {step}"
    pointer = select(func.max(checkpoint.c.step)).where(checkpoint.c.trial_id == trial.c.trial_id).scalar_subquery()
    for name, number, found, step in conn.execute(
        _named().add_columns(pointer, trial.c.furthest).where(pointer > trial.c.furthest)
    ):
        yield f"trial {name}/{number}: has a checkpoint at step {found}, but never got further than step {step}"


def _reused(conn: Connection) -> Iterator[str]:
    """One sentence for each trial that can't have taken over the steps that it says."""
    of = trial.alias()
    took = (trial.c.reused_steps, trial.c.reused_s, trial.c.step, trial.c.elapsed_s, trial.c.source_id)
    query = _named().add_columns(*took, of.c.trial_id.label("found"), of.c.state, of.c.step.label("has"))
    query = query.outerjoin(of, of.c.trial_id == trial.c.source_id)
    somehow = or_(trial.c.source_id.is_not(None), trial.c.reused_steps != 0, trial.c.reused_s != 0)
    for row in conn.execute(query.where(somehow).order_by(trial.c.trial_id)):
        name, steps = f"trial {row.name}/{row.number}", row.reused_steps
        if row.source_id is None:
            yield f"{name}: took over {steps} steps, but cs_trial.source_id names no trial that it has them from"
        elif row.found is None:
            yield f"{name}: cs_trial.source_id is {row.source_id}, which is no trial"
        elif steps > row.step:
            yield f"{name}: took over {steps} steps, but has {row.step}"
        elif row.reused_s > row.elapsed_s:
            yield f"{name}: took over {row.reused_s:g} s of training, but has {row.elapsed_s:g} s"
        elif row.state == TrialState.DONE.value and steps > row.has:
            yield f"{name}: took over {steps} steps of a trial that has {row.has}"


def _named() -> Any:
    return select(study.c.name, trial.c.number).join_from(trial, study, study.c.study_id == trial.c.study_id)


def _optuna(db: Database) -> list[str]:
    ours = db.read(_ours)
    theirs = _theirs(db)
    if theirs is None:
        synced = sum(row["told"] is True for row in ours.values())
        return [f"{synced} trials were copied to Optuna, but its tables are not there"] if synced else []
    found = list(_compared(ours, theirs))
    # A worker may have synced between the two reads: a real problem shows in the one before and after Optuna's.
    again = set(_compared(db.read(_ours), theirs)) if found else set()
    return [each for each in found if each in again]


def _ours(conn: Connection) -> dict[tuple[str, int], dict[str, Any]]:
    # The next worker rewrites Optuna's view of a study whose trials were retried.
    query = _named().add_columns(trial.c.state, trial.c.told, trial.c.value, study.c.stale)
    return {(row.name, row.number): dict(row._mapping) for row in conn.execute(query)}


def _theirs(db: Database) -> list[tuple[str, int, Any]] | None:
    """Study, number and trial of all our trials that Optuna has; None without its tables."""
    if not db.read(lambda conn: inspect(conn).has_table("studies")):
        return None
    try:
        link = OptunaLink(db, lock=False)
    except Exception as error:
        # Optuna raises errors of many kinds, SQLAlchemy's among them.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"Optuna can't read its tables: {reason}") from None
    names = {row[0] for row in db.read(lambda conn: conn.execute(select(study.c.name)).all())}
    try:
        found = []
        for one in link.storage.get_all_studies():
            for row in link.storage.get_all_trials(one._study_id, deepcopy=False) if one.study_name in names else ():
                found.append((one.study_name, row.user_attrs.get(NUMBER_ATTRIBUTE, -1), row))
        return found
    finally:
        link.close()


def _compared(ours: dict[tuple[str, int], dict[str, Any]], theirs: list[tuple[str, int, Any]]) -> Iterator[str]:
    counts = Counter((name, number) for name, number, _ in theirs)
    for (name, number), count in counts.items():
        if count > 1:
            yield f"trial {name}/{number}: Optuna has it {count} times"
    stale = {name for (name, _), mine in ours.items() if mine["stale"]}
    for name, number, row in theirs:
        if name in stale:
            continue
        mine = ours.get((name, number))
        if mine is None or mine["state"] not in _FINAL:
            yield f"Optuna's trial {row.number} of study {name} is no final trial here"
        elif row.state.name == "COMPLETE" and row.value != mine["value"]:
            yield f"trial {name}/{number}: Optuna has the value {row.value}, we have {mine['value']}"
    for (name, number), mine in ours.items():
        if mine["told"] and (name, number) not in counts:
            yield f"trial {name}/{number}: was copied to Optuna, which does not have it"
