"""Studies in and out: create once, extend, read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, func, insert, select, update

from cifarsweep.errors import StoreError, StudyExists, UnknownStudy, UnreadableStudy
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.study_diff import check_extends, difference
from cifarsweep.spec.types import FINAL_STATES, NAME_PATTERN, TrialState, Wish
from cifarsweep.spec.validation import nearest
from cifarsweep.store import columns, rows
from cifarsweep.store.database import backend_of
from cifarsweep.store.records import Created, StoredStudy, StudyRow
from cifarsweep.store.schema import cell, look, study, trial

if TYPE_CHECKING:
    from cifarsweep.stats.multiplicity import Plans


def create(conn: Connection, spec: Study, *, extend: bool, other_data: bool = False) -> Created:
    """Add a study with its cells and trials, or what `extend` adds to it. Raises StudyExists where it differs.

    With `other_data` it may be trained on images that differ between workers, from now on.
    """
    fresh = {"name": spec.name, "sha256": spec.sha256, "spec": spec.canonical(), "created_at": datetime.now(UTC)}
    conn.execute(backend_of(conn).insert_ignore(study).values(fresh))
    # Locked, so that of two that create or extend at once the second sees what the first has done.
    row = conn.execute(select(study).where(study.c.name == spec.name).with_for_update()).one()
    existing = _count(conn, row.study_id)
    if other_data:
        conn.execute(update(study).where(study.c.study_id == row.study_id).values(other_data=True))
    if (existing or row.points is not None) and row.sha256 == spec.sha256:
        return Created(row.study_id, 0, existing)
    if row.sha256 != spec.sha256:
        _check_change(stored(row).spec, spec, extend=extend)
        _plan_looks(conn, row.study_id, _plans_with(conn, read(conn, spec.name), len(spec.seeds)))
        # Who extends a cancelled study wants it after all; a paused one stays paused.
        wish = None if row.wish == Wish.CANCEL else row.wish
        changed = {"sha256": spec.sha256, "spec": fresh["spec"], "wish": wish}
        conn.execute(update(study).where(study.c.study_id == row.study_id).values(changed))
    if spec.search is not None:
        return _plan_search(conn, row, spec, spec.search, existing)
    cells = _store_cells(conn, row.study_id, spec)
    ids = {one.name: cells[_digest(one)] for one in spec.cells}
    planned = [(ids[each.cell.name], each.seed) for each in spec.trials()]
    return Created(row.study_id, add_trials(conn, row, planned), existing)


def _plan_search(conn: Connection, row: Row[Any], spec: Study, search: Search, existing: int) -> Created:
    """Say how many points there are to ask for; those that were asked for get the seeds that are new."""
    before = 0 if row.points is None else row.points * len(stored(row).spec.seeds)
    conn.execute(update(study).where(study.c.study_id == row.study_id).values(points=search.points))
    asked = select(cell.c.cell_id).where(cell.c.study_id == row.study_id).order_by(cell.c.position)
    cell_ids = list(conn.execute(asked).scalars())
    add_trials(conn, row, [(cell_id, seed) for seed in spec.seeds for cell_id in cell_ids])
    revived = row.points - row.asked if row.wish == Wish.CANCEL else 0
    return Created(row.study_id, search.points * len(spec.seeds) - before, existing, revived)


def first_state(row: Row[Any]) -> TrialState:
    """What a trial that comes to a study begins as."""
    return TrialState.PAUSED if row.wish == Wish.PAUSE else TrialState.QUEUED


def new_trial(row: Row[Any]) -> dict[str, Any]:
    """What every trial that comes to a study begins with. `row` is the study's, locked."""
    return {"study_id": row.study_id, "state": first_state(row).value, "rank": row.rank}


def add_seeds(conn: Connection, name: str, added: Iterable[tuple[str, int]], plans: Iterable[Iterable[int]]) -> int:
    """Add trials of a study, by cell and seed, and the looks that it is planned with; returns how many were not there.

    Raises UnknownStudy, or StoreError for a cell that the study does not have.
    """
    # Locked, so that of two that extend at once the second sees what the first has done.
    row = conn.execute(select(study).where(study.c.study_id == study_id(conn, name)).with_for_update()).one()
    rows = conn.execute(select(cell.c.name, cell.c.cell_id).where(cell.c.study_id == row.study_id))
    ids = {found.name: found.cell_id for found in rows}
    planned = list(added)
    if unknown := {one for one, _ in planned} - ids.keys():
        raise StoreError(f"study {name!r} has no cell {min(unknown)!r}; its cells are {', '.join(ids)}")
    _plan_looks(conn, row.study_id, plans)
    return add_trials(conn, row, [(ids[one], seed) for one, seed in planned])


def plans_of(conn: Connection, name: str, seeds: int | None = None) -> Plans:
    """The numbers of seeds at which the study is looked at, by plan, or would be if all cells had so many seeds.

    Raises UnknownStudy.
    """
    owner = study_id(conn, name)
    return _plans(conn, name, owner) if seeds is None else _plans_with(conn, read(conn, name), seeds)


def _plans(conn: Connection, name: str, study_id: int) -> Plans:
    query = select(look).where(look.c.study_id == study_id).order_by(look.c.plan, look.c.seeds)
    plans: dict[int, list[int]] = {}
    for row in conn.execute(query):
        try:
            found = rows.read(look, row)
        except columns.BadValue as error:
            raise rows.unreadable(name, error) from None
        plans.setdefault(found["plan"], []).append(found["seeds"])
    return tuple(map(tuple, plans.values()))


def _check_change(old: Study, spec: Study, *, extend: bool) -> None:
    """Raise StudyExists unless the study that is stored may become `spec`."""
    if not extend:
        raise StudyExists(
            f"study {spec.name!r} exists with other contents. Use --extend where only cells, seeds or trials of a "
            f"search were added, or --as NAME for a study of its own.\n{difference(old, spec)}"
        )
    check_extends(old, spec)


def _plans_with(conn: Connection, stored: StoredStudy, seeds: int) -> Plans:
    """More seeds for a study that has results: somebody may have seen them, so that the next look is one more.

    Where all trials are final the look has been taken. Where some are open it is planned with the next one, unless
    there is a plan: then nobody knows here which of its looks were taken. Seeds on the way to a look that is planned
    wait for it, and decide nothing before.
    """
    plans, before = _plans(conn, stored.name, stored.study_id), len(stored.spec.seeds)
    states = set(conn.execute(select(trial.c.state).where(trial.c.study_id == stored.study_id).distinct()).scalars())
    # Statistics come with NumPy, which most looks at a database need not import.
    from cifarsweep.stats.estimate import FEWEST_SEEDS
    from cifarsweep.stats.multiplicity import extended

    if not seeds > before >= FEWEST_SEEDS or TrialState.DONE not in states:
        return plans
    if any(look >= seeds for plan in plans for look in plan):
        return plans
    return extended(plans, (before, seeds), taken=bool(plans) or states.issubset(FINAL_STATES))


def _plan_looks(conn: Connection, study_id: int, plans: Iterable[Iterable[int]]) -> None:
    if rows := [
        {"study_id": study_id, "seeds": seeds, "plan": number}
        for number, plan in enumerate(plans, start=1)
        for seeds in plan
    ]:
        conn.execute(backend_of(conn).insert_ignore(look), rows)


def _count(conn: Connection, study_id: int) -> int:
    return conn.execute(select(func.count()).select_from(trial).where(trial.c.study_id == study_id)).scalar_one()


def _store_cells(conn: Connection, study_id: int, spec: Study) -> dict[str, int]:
    """Insert new cells, bring names, levels and places of old ones up to date; ids by the digest of their settings."""
    known = _cell_ids(conn, study_id)
    values = [cell_row(study_id, position, one) for position, one in enumerate(spec.cells)]
    for row in values:
        if row["settings_sha256"] in known:
            conn.execute(update(cell).where(cell.c.cell_id == known[row["settings_sha256"]]).values(row))
    added = [row for row in values if row["settings_sha256"] not in known]
    if added:
        conn.execute(insert(cell), added)
    return _cell_ids(conn, study_id)


def _cell_ids(conn: Connection, study_id: int) -> dict[str, int]:
    rows = conn.execute(select(cell.c.settings_sha256, cell.c.cell_id).where(cell.c.study_id == study_id))
    return {sha256: cell_id for sha256, cell_id in rows}


def cell_row(study_id: int, position: int, one: Cell) -> dict[str, Any]:
    """A cell as its table has it."""
    return {
        "study_id": study_id,
        "position": position,
        "name": one.name,
        "levels": json.dumps(one.levels),
        "settings": _settings(one),
        "settings_sha256": _digest(one),
    }


def _settings(one: Cell) -> str:
    return columns.UNKNOWN if one.own_settings is None else one.own_settings.model_dump_json()


def _digest(one: Cell) -> str:
    # Where nobody knows the settings, the name has to tell cells apart.
    text = one.name if one.own_settings is None else _settings(one)
    return hashlib.sha256(text.encode()).hexdigest()


def add_trials(conn: Connection, row: Row[Any], planned: Sequence[tuple[int, int]]) -> int:
    """Add those trials, by cell and seed, that are not there yet; how many. `row` is the study's, locked."""
    there = conn.execute(
        select(trial.c.cell_id, trial.c.seed, trial.c.number).where(trial.c.study_id == row.study_id)
    ).all()
    known = {(old.cell_id, old.seed) for old in there}
    number = max((old.number for old in there), default=-1)
    added = [pair for pair in planned if pair not in known]
    values = [{"cell_id": c, "seed": seed, "number": n} for n, (c, seed) in enumerate(added, start=number + 1)]
    if values:
        conn.execute(insert(trial).values(new_trial(row)), values)
    return len(values)


def listed(conn: Connection) -> list[StudyRow]:
    """Every study, oldest first, also those that can't be read."""
    counts = select(trial.c.study_id, func.count().label("trials")).group_by(trial.c.study_id).subquery()
    found = conn.execute(
        select(study, counts.c.trials).join(counts, counts.c.study_id == study.c.study_id).order_by(study.c.study_id)
    )
    return [_listed(row) for row in found]


def _listed(row: Row[Any]) -> StudyRow:
    try:
        known = stored(row)
    except UnreadableStudy as error:
        return StudyRow(row.study_id, error.study, "", "", None, row.trials, str(error))
    return StudyRow(row.study_id, row.name, known.spec.question, row.sha256, known.created_at, row.trials)


def read(conn: Connection, name: str) -> StoredStudy:
    """The study of that name. Raises UnknownStudy, or UnreadableStudy where it can't be read."""
    return stored(conn.execute(select(study).where(study.c.study_id == study_id(conn, name))).one())


def stored(row: Row[Any]) -> StoredStudy:
    """A row of `cs_study`. Raises UnreadableStudy."""
    try:
        found = rows.read(study, row)
        if problem := contradiction(found):
            raise columns.BadValue(problem)
    except columns.BadValue as error:
        raise rows.unreadable(row.name, error) from None
    return StoredStudy(found["study_id"], found["name"], found["sha256"], found["created_at"], found["spec"])


def contradiction(found: dict[str, Any]) -> str | None:
    """What columns of `cs_study` that can be read each for itself can't all be; None where nothing is wrong."""
    spec, points, asked = found["spec"], found["points"], found["asked"]
    if spec.name != found["name"]:
        return f"cs_study.name is {found['name']!r}, but cs_study.spec is of {spec.name!r}: let both be the same"
    if (points is None) != (spec.search is None):
        return f"cs_study.points is {points}, but cs_study.spec has {'no' if spec.search is None else 'a'} search"
    if points is not None and asked > points:
        return f"cs_study.asked is {asked}, which is more than the {points} of cs_study.points"
    return None


def study_id(conn: Connection, name: str) -> int:
    """The id of the study of that name. Raises UnknownStudy."""
    # A name that no study can have is not even asked for: PostgreSQL refuses some characters.
    if NAME_PATTERN.fullmatch(name):
        found = conn.execute(select(study.c.study_id).where(study.c.name == name)).scalar_one_or_none()
        if found is not None:
            return int(found)
    raise _unknown(conn, name)


def _unknown(conn: Connection, name: str) -> UnknownStudy | UnreadableStudy:
    found = list(conn.execute(select(study.c.name).order_by(study.c.name)).scalars())
    names = [rows.as_name(each) for each in found]
    if name in names:
        try:
            rows.column(study.c.name, found[names.index(name)])
        except columns.BadValue as error:
            return rows.unreadable(name, error)
    known = f"Known: {', '.join(names)}." if names else "It holds none; make one with `cifarsweep create STUDY`."
    return UnknownStudy(f"the database has no study {name[:64]!r}.{nearest(name, names)} {known}")
