"""The cells of leases. Settings of a cell never change, so each is read and parsed once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import CheckpointRef
from cifarsweep.store import columns, rows
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import cell, study

_MOST = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    study_id: int
    study: str
    folder: str
    cell: str
    settings: Settings


class CellCache:
    """A cache of recently claimed cells."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def lease(
        self, conn: Connection, found: dict[str, Any], checkpoints: tuple[CheckpointRef, ...], lease_s: float
    ) -> Lease:
        """The lease that a row of `cs_trial` holds. Raises BadValue where its cell or study can't be read."""
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
        )

    def _about(self, conn: Connection, cell_id: int) -> _Known:
        if cell_id not in self._known:
            if len(self._known) >= _MOST:
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
            self._known[cell_id] = _Known(its["study_id"], name, _folder(name, made), its["name"], its["settings"])
        return self._known[cell_id]


def _folder(name: str, created_at: datetime) -> str:
    """The creation time, to the microsecond, tells studies of one name apart; a copy of a database keeps it."""
    return f"{name}-{hashlib.sha256(created_at.isoformat().encode()).hexdigest()[:8]}"
