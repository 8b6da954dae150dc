"""The links of new trials to those whose steps they take: what a planner has to know, and what it found.

A link is advice: a trial whose source gives nothing trains in full. So what changes between the reading of a source and
its use is no harm, and what can't be read is no source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select, update

from cifarsweep.spec.links import Candidate, Plan, Planner
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import DATA_VERSION, Outcome, TrialState
from cifarsweep.store.columns import BadValue, parsers, settings
from cifarsweep.store.database import backend_of
from cifarsweep.store.queue.workers import parsed_versions
from cifarsweep.store.schema import attempt, branch, cell, trial

_ON_THE_WAY = (TrialState.QUEUED.value, TrialState.LEASED.value)
_STATES: Mapping[str, Literal["new", "queued", "leased", "done"]] = {
    "new": "new",
    TrialState.QUEUED: "queued",
    TrialState.LEASED: "leased",
    TrialState.DONE: "done",
}
_COLUMNS = ("trial_id", "cell_id", "seed", "state", "step", "source_id", "branch_step", "rows_digest")


def link_new(conn: Connection, study_id: int, added: int, planner: Planner) -> tuple[list[Candidate], Plan]:
    """Plan what the newest `added` trials of the study take from others, and store it; these trials and the plan."""
    last = conn.execute(select(func.max(trial.c.number)).where(trial.c.study_id == study_id)).scalar_one()
    is_new = and_(trial.c.study_id == study_id, trial.c.number > last - added)
    seeds = list(conn.execute(select(trial.c.seed).where(is_new).distinct()).scalars())
    new = [*_read(conn, is_new, {}, "new")]
    plan = planner([*new, *givers(conn, seeds, ~is_new)])
    _store(conn, plan)
    return new, plan


def givers(conn: Connection, seeds: Sequence[int], *conditions: ColumnElement[bool]) -> list[Candidate]:
    """The trials of any study from which one of these seeds may take steps: those on their way or done."""
    open_or_done = trial.c.state.in_((*_ON_THE_WAY, TrialState.DONE.value))
    whole = trial.c.outcome.is_(None) | (trial.c.outcome != Outcome.PRUNED.value)
    wanted = and_(open_or_done, whole, trial.c.seed.in_(seeds), *conditions)
    return list(_read(conn, wanted, _branches(conn, wanted)))


def _read(
    conn: Connection, wanted: ColumnElement[bool], branches: Mapping[int, frozenset[int]], state: str | None = None
) -> Iterator[Candidate]:
    """The trials that can be read; one of another study that can't is no reason to refuse this one."""
    attempts = _attempts(conn, wanted)
    parse = dict(parsers(trial))
    texts = select(cell.c.cell_id, cell.c.settings).join(trial, trial.c.cell_id == cell.c.cell_id).where(wanted)
    cells = {cell_id: text for cell_id, text in conn.execute(texts.distinct())}
    for row in conn.execute(select(*(trial.c[name] for name in _COLUMNS)).where(wanted)):
        with suppress(BadValue):
            found = {name: parse[name](value) for name, value in zip(_COLUMNS, row, strict=True)}
            its = settings(cells.get(found["cell_id"]))
            if isinstance(its, Settings):  # an imported one has none, and a program has parameters
                yield _candidate(found, its, state, attempts.get(row.trial_id, ()), branches.get(row.trial_id))


def _candidate(
    found: Mapping[str, Any],
    its: Settings,
    state: str | None,
    attempts: Sequence[tuple[str | None, str | None]],
    branches: frozenset[int] | None,
) -> Candidate:
    identities = {identity for identity, _ in attempts}
    versions = attempts[-1][1] if attempts else None
    done = found["state"] == TrialState.DONE
    return Candidate(
        trial_id=found["trial_id"],
        settings=its,
        seed=found["seed"],
        state=_STATES[state or found["state"]],
        step=0 if done else found["step"],
        source_id=found["source_id"],
        branch_step=found["branch_step"],
        branches=branches or frozenset(),
        data=_versions(versions).get(DATA_VERSION + its.dataset),
        reusable=not done or (found["rows_digest"] is not None and len(identities) == 1 and None not in identities),
    )


def _attempts(conn: Connection, wanted: ColumnElement[bool]) -> Mapping[int, list[tuple[str | None, str | None]]]:
    """Identity and versions of each attempt by trial, oldest first."""
    query = select(attempt.c.trial_id, attempt.c.identity, attempt.c.versions)
    query = query.join(trial, trial.c.trial_id == attempt.c.trial_id).where(wanted)
    found: dict[int, list[tuple[str | None, str | None]]] = defaultdict(list)
    for trial_id, identity, versions in conn.execute(query.order_by(attempt.c.trial_id, attempt.c.attempt)):
        found[trial_id].append((identity, versions))
    return found


@lru_cache(maxsize=1024)  # most attempts have the same
def _versions(text: str | None) -> Mapping[str, str]:
    return parsed_versions(text)


def _branches(conn: Connection, wanted: ColumnElement[bool]) -> Mapping[int, frozenset[int]]:
    """The steps at which others can begin, or will be able to: one that was missed is none."""
    comes = and_(trial.c.state.in_(_ON_THE_WAY), branch.c.step > trial.c.step)
    query = select(branch.c.trial_id, branch.c.step).join(trial, trial.c.trial_id == branch.c.trial_id)
    found: dict[int, set[int]] = defaultdict(set)
    for trial_id, step in conn.execute(query.where(wanted, or_(branch.c.path.is_not(None), comes))):
        if type(step) is int:
            found[trial_id].add(step)
    return {trial_id: frozenset(steps) for trial_id, steps in found.items()}


def _store(conn: Connection, plan: Plan) -> None:
    linked = {link.trial_id for link in plan.links}
    # A claim finds what is known by itself; this is for `status`, which does not count it as left.
    known = [(one, source, None) for one, source in sorted(plan.known.items()) if one not in linked]
    if links := [
        {
            "p_trial": trial_id,
            "source_id": source_id,
            "branch_step": step,
            # One that is known may be taken as soon as it is claimed.
            "waits": trial_id not in plan.known,
        }
        for trial_id, source_id, step in (
            *((link.trial_id, link.source_id, link.branch_step) for link in plan.links),
            *known,
        )
    ]:
        conn.execute(update(trial).where(trial.c.trial_id == bindparam("p_trial")), links)
    kept = sorted({(link.source_id, link.branch_step) for link in plan.links if link.branch_step is not None})
    if kept:
        conn.execute(
            backend_of(conn).insert_ignore(branch), [{"trial_id": source, "step": step} for source, step in kept]
        )
    raised = [{"p_trial": trial_id, "p_steps": steps} for trial_id, steps in sorted(plan.waiting_steps.items())]
    if raised:
        lower = trial.c.trial_id == bindparam("p_trial"), trial.c.waiting_steps < bindparam("p_steps")
        conn.execute(update(trial).where(*lower).values(waiting_steps=bindparam("p_steps")), raised)
