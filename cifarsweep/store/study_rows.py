"""Rows of studies, cells and trials, as several parts of the store read and write them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from cifarsweep.errors import UnknownStudy, UnreadableStudy
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.program import Parameters, Program
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import NAME_PATTERN, CheckpointRef, StopRequest, TrialState
from cifarsweep.spec.validation import nearest
from cifarsweep.store import columns, rows
from cifarsweep.store.records import Lease, StoredStudy
from cifarsweep.store.schema import cell, study, trial

#: Cells that are cached at once.
_CACHED = 1000


def study_id(conn: Connection, name: str) -> int:
    """The id of the study of that name. Raises UnknownStudy."""
    # Don't query names that no study can have: PostgreSQL refuses some characters.
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


def read_study(conn: Connection, name: str) -> StoredStudy:
    """The study of that name. Raises UnknownStudy, or UnreadableStudy where it can't be read."""
    return stored(conn.execute(select(study).where(study.c.study_id == study_id(conn, name))).one())


def stored(row: Row[Any]) -> StoredStudy:
    """A row of `cs_study`. Raises UnreadableStudy."""
    try:
        found = rows.read(study, row)
        if problem := rows.contradiction(found):
            raise columns.BadValue(problem)
    except columns.BadValue as error:
        raise rows.unreadable(row.name, error) from None
    return StoredStudy(found["study_id"], found["name"], found["sha256"], found["created_at"], found["spec"])


def first_state(row: Row[Any]) -> TrialState:
    """The state of a new trial of the study."""
    return TrialState.PAUSED if row.wish == StopRequest.PAUSE else TrialState.QUEUED


def cell_row(study_id: int, position: int, one: Cell) -> dict[str, Any]:
    """A cell as its table has it."""
    return {
        "study_id": study_id,
        "position": position,
        "name": one.name,
        "levels": json.dumps(one.levels),
        "settings": _settings(one),
        "settings_sha256": cell_digest(one),
    }


def _settings(one: Cell) -> str:
    known = one.trained_with
    return columns.UNKNOWN if known is None else known.model_dump_json()


def cell_digest(one: Cell) -> str:
    """The digest that tells cells apart: of its settings or parameters, or of the name where both are unknown."""
    text = one.name if one.trained_with is None else _settings(one)
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
        common = {"study_id": row.study_id, "state": first_state(row).value, "rank": row.rank}
        conn.execute(insert(trial).values(common), values)
    return len(values)


@dataclass(frozen=True, slots=True)
class _CachedCell:
    study_id: int
    study: str
    folder: str
    cell: str
    settings: Settings | Parameters
    program: str | None
    metric: str


class CellCache:
    """A cache of recently claimed cells."""

    def __init__(self) -> None:
        self._known: dict[int, _CachedCell] = {}

    def lease(
        self,
        conn: Connection,
        found: dict[str, Any],
        checkpoints: tuple[CheckpointRef, ...],
        lease_s: float,
        digests: Mapping[str, str],
    ) -> Lease:
        """The lease that a row of `cs_trial` holds. Raises BadValue where its cell or study can't be read.

        `digests` are those of the data sets of the worker.
        """
        known = self._about(conn, found["cell_id"])
        if known.study_id != found["study_id"]:
            raise columns.BadValue(rows.no_such_cell(found["cell_id"]))
        return Lease(
            trial_id=found["trial_id"],
            study=known.study,
            folder=known.folder,
            number=found["number"],
            cell=known.cell,
            seed=found["seed"],
            settings=known.settings,
            attempt=found["attempt"],
            flush_seq=found["flush_seq"],
            checkpoints=checkpoints,
            lease_s=lease_s,
            takeovers=found["takeovers"],
            data_sha256=digests.get(known.settings.dataset) if isinstance(known.settings, Settings) else None,
            program=known.program,
            metric=known.metric,
        )

    def _about(self, conn: Connection, cell_id: int) -> _CachedCell:
        if cell_id not in self._known:
            if len(self._known) >= _CACHED:
                self._known.clear()
            query = select(cell, study.c.name.label("study"), study.c.created_at)
            query = query.join_from(cell, study, study.c.study_id == cell.c.study_id).where(cell.c.cell_id == cell_id)
            row = conn.execute(query).first()
            its = rows.cell_of(row, cell_id)
            assert row is not None
            if its["settings"] is None:
                raise columns.BadValue(
                    f"cs_cell.settings is null, as of imported trials, which can't be trained: {columns.ADVICE}"
                )
            name, made = rows.column(study.c.name, row.study), rows.column(study.c.created_at, row.created_at)
            program = _program(conn, its["study_id"]) if isinstance(its["settings"], Parameters) else None
            self._known[cell_id] = _CachedCell(
                study_id=its["study_id"],
                study=name,
                folder=checkpoint_folder(name, made),
                cell=its["name"],
                settings=its["settings"],
                program=program.sha256 if program else None,
                metric=program.metric if program else VAL_ACCURACY,
            )
        return self._known[cell_id]


def _program(conn: Connection, study_id: int) -> Program:
    """The program of a study whose cells have parameters. Raises BadValue."""
    text = conn.execute(select(study.c.spec).where(study.c.study_id == study_id)).scalar_one()
    found: Study = rows.column(study.c.spec, text)
    if found.program is None:
        raise columns.BadValue(f"cs_cell.settings has parameters, but cs_study.spec has no program: {columns.ADVICE}")
    return found.program


def checkpoint_folder(name: str, created_at: datetime) -> str:
    """The name of the folder of a study's checkpoints.

    The creation time, to the microsecond, tells studies of one name apart; a copy of a database keeps it.
    """
    return f"{name}-{hashlib.sha256(created_at.isoformat().encode()).hexdigest()[:8]}"
