"""Studies: create, extend, import, list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, func, insert, select, update

from cifarsweep.errors import StoreError, StudyExists, UnreadableStudy
from cifarsweep.spec.links import Candidate, Planner
from cifarsweep.spec.metrics import ELAPSED
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.study import Study
from cifarsweep.spec.study_diff import as_stored, check_extends, difference
from cifarsweep.spec.types import FINAL_STATES, StopRequest, TrialState
from cifarsweep.store import columns, rows, status
from cifarsweep.store.database import Database, Part, backend_of, reading
from cifarsweep.store.metrics import insert_rows
from cifarsweep.store.optuna_view.projection import refuse_foreign
from cifarsweep.store.plans import givers, link_new
from cifarsweep.store.records import Created, FinishedRun, StoredStudy, StudyRow
from cifarsweep.store.schema import cell, look, study, trial
from cifarsweep.store.status_records import StudyStatus
from cifarsweep.store.study_rows import add_trials, cell_digest, cell_row, read_study, stored, study_id
from cifarsweep.store.unreadable_rows import naming_rows, reading_study

if TYPE_CHECKING:
    from cifarsweep.stats.multiplicity import Plans


class Studies(Part):
    """Studies by name. Methods about one study raise UnreadableStudy if this version can't read its rows."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.readable: set[tuple[int, str]] = set()
        """Specifications that were read without a problem: `status` reads each once."""

    def create(
        self, study: Study, *, extend: bool = False, other_data: bool = False, planner: Planner | None = None
    ) -> Created:
        """Add the study and its trials, or what `extend` adds to it; an equal study stays as it is.

        With `other_data` its trials may train on images that differ between workers, from now on. `planner` plans what
        new trials take from others; those of a search take nothing, as their points come later.

        Raises StudyExists with the differences where a study of that name has other contents, or, with `extend`, where
        more than cells and seeds was added; or where Optuna has a study of that name that is not ours.
        """
        with naming_rows(self._db, study.name):
            self._plan_ahead(planner, study)
            return self._change(
                lambda conn: _create(conn, study, planner, extend=extend, other_data=other_data),
                lambda created: created.added,
            )

    def add_seeds(
        self,
        name: str,
        added: Sequence[tuple[str, int]],
        plans: Sequence[Sequence[int]] = (),
        planner: Planner | None = None,
    ) -> Created:
        """Add trials to single cells, by cell and seed, and plan looks at the data; those known stay as they are.

        `planner` as for `create`. Raises UnknownStudy, or StoreError for a cell that the study does not have.
        """
        with naming_rows(self._db, name):
            return self._change(
                lambda conn: _add_seeds(conn, name, added, plans, planner), lambda created: created.added
            )

    def _plan_ahead(self, planner: Planner | None, study: Study) -> None:
        """Let the planner compute all rates before the transaction that others wait for."""
        planned = study.trials() if planner is not None else ()
        new = [(one.cell.own_settings, one.seed) for one in planned if one.cell.own_settings is not None]
        if planner is not None and new:
            seeds = sorted({seed for _, seed in new})
            there = self._db.read(lambda conn: givers(conn, seeds))
            planner([*there, *(Candidate(-number, *each, "new") for number, each in enumerate(new, start=1))])

    def add_finished(self, study: Study, runs: Sequence[FinishedRun]) -> int:
        """Add a study of runs that were trained elsewhere; returns its trials. Raises StudyExists."""
        return self._change(lambda conn: _add_finished(conn, study, runs), int)

    @reading_study
    def plans(self, conn: Connection, name: str, seeds: int | None = None) -> Plans:
        """The numbers of seeds at which a study is looked at, by plan; empty where there is only the first look.

        With `seeds`, the plans as if `create` gave every cell so many. Raises UnknownStudy.
        """
        owner = study_id(conn, name)
        return _plans(conn, name, owner) if seeds is None else _plans_with(conn, read_study(conn, name), seeds)

    @reading
    def all(self, conn: Connection) -> list[StudyRow]:
        """Every study, oldest first, also those that can't be read."""
        counts = select(trial.c.study_id, func.count().label("trials")).group_by(trial.c.study_id).subquery()
        query = select(study, counts.c.trials).join(counts, counts.c.study_id == study.c.study_id)
        return [_listed(row) for row in conn.execute(query.order_by(study.c.study_id))]

    @reading
    def names(self, conn: Connection) -> list[str]:
        """The names of all studies, oldest first, without reading what they say."""
        return [rows.as_name(name) for name in conn.execute(select(study.c.name).order_by(study.c.study_id)).scalars()]

    @reading_study
    def get(self, conn: Connection, name: str) -> StoredStudy:
        """One study with its specification. Raises UnknownStudy, which lists the studies there are."""
        return read_study(conn, name)

    @reading
    def status(self, conn: Connection, name: str | None = None, *, live: bool = False) -> list[StudyStatus]:
        """How far the study is, or every study; `live` adds what running trials were last at. Raises UnknownStudy.

        A study that can't be read says why.
        """
        return status.status(conn, name, live=live, readable=self.readable)


def _create(conn: Connection, spec: Study, planner: Planner | None, *, extend: bool, other_data: bool) -> Created:
    refuse_foreign(conn, spec.name)
    spec = _as_stored(conn, spec)
    fresh = {"name": spec.name, "sha256": spec.sha256, "spec": spec.canonical(), "created_at": datetime.now(UTC)}
    conn.execute(backend_of(conn).insert_ignore(study).values(fresh))
    # Locked: of two concurrent calls the second sees the rows of the first.
    row = conn.execute(select(study).where(study.c.name == spec.name).with_for_update()).one()
    existing = _count(conn, row.study_id)
    if other_data:
        conn.execute(update(study).where(study.c.study_id == row.study_id).values(other_data=True))
    if (existing or row.points is not None) and row.sha256 == spec.sha256:
        return Created(row.study_id, 0, existing)
    if row.sha256 != spec.sha256:
        _check_change(stored(row), spec, extend=extend)
        _plan_looks(conn, row.study_id, _plans_with(conn, read_study(conn, spec.name), len(spec.seeds)))
        # Extending a cancelled study reopens it; a paused one stays paused.
        wish = None if row.wish == StopRequest.CANCEL else row.wish
        changed = {"sha256": spec.sha256, "spec": fresh["spec"], "wish": wish}
        conn.execute(update(study).where(study.c.study_id == row.study_id).values(changed))
    if spec.search is not None:
        return _plan_search(conn, row, spec, spec.search, existing)
    cells = _store_cells(conn, row.study_id, spec)
    ids = {one.name: cells[cell_digest(one)] for one in spec.cells}
    planned = [(ids[each.cell.name], each.seed) for each in spec.trials()]
    added = add_trials(conn, row, planned)
    created = Created(row.study_id, added, existing, changed=bool(existing) and row.sha256 != spec.sha256)
    return _linked(conn, created, planner)


def _linked(conn: Connection, created: Created, planner: Planner | None) -> Created:
    if planner is None or not created.added:
        return created
    new, plan = link_new(conn, created.study_id, created.added, planner)
    return replace(created, new=tuple(new), plan=plan)


def _as_stored(conn: Connection, spec: Study) -> Study:
    row = conn.execute(select(study).where(study.c.name == spec.name)).one_or_none()
    return spec if row is None or row.sha256 == spec.sha256 else as_stored(spec, stored(row).spec)


def _plan_search(conn: Connection, row: Row[Any], spec: Study, search: Search, existing: int) -> Created:
    """Set how many points the search asks for; points that exist get the new seeds."""
    before = 0 if row.points is None else row.points * len(stored(row).spec.seeds)
    conn.execute(update(study).where(study.c.study_id == row.study_id).values(points=search.points))
    asked = select(cell.c.cell_id).where(cell.c.study_id == row.study_id).order_by(cell.c.position)
    cell_ids = list(conn.execute(asked).scalars())
    add_trials(conn, row, [(cell_id, seed) for seed in spec.seeds for cell_id in cell_ids])
    reopened = row.points - row.asked if row.wish == StopRequest.CANCEL else 0
    return Created(row.study_id, search.points * len(spec.seeds) - before, existing, reopened)


def _add_seeds(
    conn: Connection,
    name: str,
    added: Iterable[tuple[str, int]],
    plans: Iterable[Iterable[int]],
    planner: Planner | None,
) -> Created:
    # Locked: of two concurrent calls the second sees the rows of the first.
    row = conn.execute(select(study).where(study.c.study_id == study_id(conn, name)).with_for_update()).one()
    rows = conn.execute(select(cell.c.name, cell.c.cell_id).where(cell.c.study_id == row.study_id))
    ids = {found.name: found.cell_id for found in rows}
    planned = list(added)
    if unknown := {one for one, _ in planned} - ids.keys():
        raise StoreError(f"study {name!r} has no cell {min(unknown)!r}; its cells are {', '.join(ids)}")
    _plan_looks(conn, row.study_id, plans)
    existing = _count(conn, row.study_id)
    created = Created(row.study_id, add_trials(conn, row, [(ids[one], seed) for one, seed in planned]), existing)
    return _linked(conn, created, planner)


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


def _check_change(known: StoredStudy, spec: Study, *, extend: bool) -> None:
    """Raise StudyExists unless the study that is stored may become `spec`."""
    old = known.spec
    if not extend:
        raise StudyExists(
            f"study {spec.name!r} exists with other contents. Use --extend where only cells, seeds, trials of a search "
            "or what others reported were added, or --as NAME for a study of its own. What was stored -> what the file "
            f"says now:\n{difference(old, spec)}"
        )
    check_extends(old, spec, f" on {known.created_at:%Y-%m-%d %H:%M} UTC")


def _plans_with(conn: Connection, stored: StoredStudy, seeds: int) -> Plans:
    """The plans with more seeds. Results may have been seen, so that the next look is one more.

    Where all trials are final the look has been taken. Where some are open it is planned with the next one, unless
    there is a plan: then nobody knows here which of its looks were taken. Seeds on the way to a look that is planned
    wait for it, and decide nothing before.
    """
    plans, before = _plans(conn, stored.name, stored.study_id), len(stored.spec.seeds)
    states = set(conn.execute(select(trial.c.state).where(trial.c.study_id == stored.study_id).distinct()).scalars())
    # Statistics import NumPy, which most reads of a database do not need.
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
    """Insert new cells, update names, levels and positions of old ones; ids by the digest of their settings."""
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


def _listed(row: Row[Any]) -> StudyRow:
    try:
        known = stored(row)
    except UnreadableStudy as error:
        return StudyRow(row.study_id, error.study, "", "", None, row.trials, str(error))
    return StudyRow(row.study_id, row.name, known.spec.question, row.sha256, known.created_at, row.trials)


def _add_finished(conn: Connection, spec: Study, runs: Sequence[FinishedRun]) -> int:
    refuse_foreign(conn, spec.name)
    fresh = {"name": spec.name, "sha256": spec.sha256, "spec": spec.canonical(), "created_at": datetime.now(UTC)}
    # PostgreSQL's driver does not count the rows of an INSERT like this.
    owner = conn.execute(
        backend_of(conn).insert_ignore(study).values(fresh).returning(study.c.study_id)
    ).scalar_one_or_none()
    if owner is None:
        raise StudyExists(f"the database has a study {spec.name!r} already; choose another name with --as")
    conn.execute(insert(cell), [cell_row(owner, position, one) for position, one in enumerate(spec.cells)])
    rows = conn.execute(select(cell.c.name, cell.c.cell_id).where(cell.c.study_id == owner))
    ids = {name: cell_id for name, cell_id in rows}
    for number, run in enumerate(runs):
        values = {"study_id": owner, "cell_id": ids[run.cell], "number": number, "seed": run.seed}
        added = insert(trial).values(values | _outcome(run)).returning(trial.c.trial_id)
        insert_rows(conn, conn.execute(added).scalar_one(), run.rows)
    return len(runs)


def _outcome(run: FinishedRun) -> dict[str, Any]:
    last = {row.name: row.value for row in sorted(run.rows, key=lambda row: row.step)}
    final = {} if run.state is not TrialState.DONE else last if run.final is None else run.final
    value, texts = columns.result_columns(final)
    return {
        "state": run.state.value,
        "outcome": run.outcome.value if run.outcome else None,
        "value": value,
        "final": texts,
        "step": max(row.step for row in run.rows),
        "elapsed_s": last.get(ELAPSED, final.get(ELAPSED, 0.0)),
    }
