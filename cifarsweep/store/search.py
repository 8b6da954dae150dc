"""Search studies: what was tried so far, the next point, and decisions to end trials early.

A worker reads the history first and adds its point later, in another transaction, because a sampler takes its time.
The counter of the study tells whether another worker was faster: then the point is out of date and is not added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.search_space import Curve, PointResult
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import FINAL_STATES, Outcome, TrialState
from cifarsweep.store import rows
from cifarsweep.store.database import Part, backend_of, reading, writing
from cifarsweep.store.metrics import read_series
from cifarsweep.store.records import StoredStudy
from cifarsweep.store.schema import cell, decision, study, trial
from cifarsweep.store.study_rows import add_trials, cell_row, stored, study_id


@dataclass(frozen=True, slots=True)
class SearchState:
    """A search study at one moment: its points so far, and whether it wants more."""

    spec: Study
    asked: int
    wants_more: bool
    tried: tuple[PointResult, ...]


class Search(Part):
    """What a search needs: its points so far, a new point, curves, and decisions to end trials early."""

    @reading
    def state(self, conn: Connection, name: str) -> SearchState | None:
        """The state of a study; None where it does not search. Raises UnknownStudy."""
        row = conn.execute(select(study).where(study.c.study_id == study_id(conn, name))).one()
        known = stored(row)
        if row.points is None:
            return None
        wants_more = row.asked < row.points and row.wish is None
        history = _tried(conn, known) if wants_more else ()
        return SearchState(known.spec, row.asked, wants_more, tuple(history))

    @writing
    def add(self, conn: Connection, name: str, asked: int, one: Cell) -> bool:
        """Add a point with its trials; False, and nothing added, where the study has not `asked` points any more.

        After StoreUnavailable, read the state again: the point may be there.
        """
        counted = (
            update(study)
            .where(study.c.name == name, study.c.asked == asked, study.c.asked < study.c.points, study.c.wish.is_(None))
            .values(asked=asked + 1)
            .returning(study)
        )
        row = conn.execute(counted).first()
        if row is None:
            return False
        inserted = insert(cell).values(cell_row(row.study_id, asked, one)).returning(cell.c.cell_id)
        cell_id = conn.execute(inserted).scalar_one()
        seeds = stored(row).spec.seeds
        add_trials(conn, row, [(cell_id, seed) for seed in seeds])
        return True

    @reading
    def decisions(self, conn: Connection, trial_id: int) -> dict[int, bool]:
        """Whether the trial was ended, at every step that was judged."""
        query = select(decision.c.step, decision.c.prune).where(decision.c.trial_id == trial_id)
        return {row.step: row.prune for row in conn.execute(query)}

    @reading
    def curves(
        self, conn: Connection, name: str, known: Collection[int], metric: str = VAL_ACCURACY
    ) -> dict[int, Curve]:
        """The curves of the study's trials by number, but for those that are known. Raises UnknownStudy."""
        owner = study_id(conn, name)
        found = conn.execute(select(trial.c.number, trial.c.state, trial.c.outcome).where(trial.c.study_id == owner))
        ended = {row.number: row.state == TrialState.DONE and row.outcome != Outcome.PRUNED for row in found}
        wanted = [number for number in ended if number not in known]
        series = read_series(conn, owner, [metric], wanted)
        values = {number: series[number, metric][1].tolist() for number in wanted if (number, metric) in series}
        return {number: Curve(tuple(values.get(number, ())), ended[number]) for number in wanted}


def record(conn: Connection, trial_id: int, decisions: Mapping[int, bool]) -> None:
    """Keep decisions, in the transaction whose guard has just passed."""
    if decisions:
        values = [{"trial_id": trial_id, "step": step, "prune": prune} for step, prune in decisions.items()]
        conn.execute(backend_of(conn).insert_ignore(decision), values)


def _tried(conn: Connection, owner: StoredStudy) -> Iterable[PointResult]:
    query = (
        select(trial, cell.c.position, cell.c.levels)
        .join(cell, trial.c.cell_id == cell.c.cell_id)
        .where(cell.c.study_id == owner.study_id)
        .order_by(cell.c.position, trial.c.number)
    )
    points: dict[object, list[dict[str, Any]]] = {}
    for row in conn.execute(query):
        with rows.naming_trial(owner.name, row.number):
            levels = rows.column(cell.c.levels, row.levels)
            points.setdefault(row.position, []).append(rows.trial_of(row) | {"levels": levels})
    return [_point(trials) for trials in points.values()]


def _point(trials: Sequence[dict[str, Any]]) -> PointResult:
    """The result of a point over its seeds: the mean of the done trials, once all are final."""
    params = trials[0]["levels"]
    if any(row["state"] not in FINAL_STATES for row in trials):
        return PointResult(params, "running")
    values = [row["value"] for row in trials if row["state"] is TrialState.DONE and row["value"] is not None]
    if not values:
        return PointResult(params, "failed")
    pruned = [row["step"] for row in trials if row["outcome"] is Outcome.PRUNED]
    value = sum(values) / len(values)
    return PointResult(params, "pruned", value, min(pruned)) if pruned else PointResult(params, "complete", value)
