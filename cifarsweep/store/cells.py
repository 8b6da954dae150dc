"""What a lease says of its cell. Cells never change their settings, so each is read and parsed once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.words import CheckpointRef
from cifarsweep.store.records import Lease
from cifarsweep.store.tables import cell, study

_MOST = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    study: str
    folder: str
    cell: str
    settings: Settings


class Cells:
    """A memory of the cells that were claimed last."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def lease(self, conn: Connection, row: Row[Any], checkpoints: tuple[CheckpointRef, ...], lease_s: float) -> Lease:
        """The lease that a row of `cs_trial` holds."""
        known = self._about(conn, row.cell_id)
        return Lease(
            trial_id=row.trial_id,
            study=known.study,
            folder=known.folder,
            number=row.number,
            cell=known.cell,
            seed=row.seed,
            settings=known.settings,
            attempt=row.attempt,
            flush_seq=row.flush_seq,
            checkpoints=checkpoints,
            lease_s=lease_s,
            takeovers=row.takeovers,
        )

    def _about(self, conn: Connection, cell_id: int) -> _Known:
        if cell_id not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            query = select(study.c.name, study.c.created_at, cell.c.name.label("cell"), cell.c.settings)
            query = query.join_from(cell, study, study.c.study_id == cell.c.study_id).where(cell.c.cell_id == cell_id)
            row = conn.execute(query).one()
            settings = Settings.model_validate_json(row.settings)
            self._known[cell_id] = _Known(row.name, _folder(row.name, row.created_at), row.cell, settings)
        return self._known[cell_id]


def _folder(name: str, created_at: datetime) -> str:
    """The moment tells studies of one name apart, to the microsecond; a copy of a database keeps it."""
    return f"{name}-{hashlib.sha256(created_at.isoformat().encode()).hexdigest()[:8]}"
