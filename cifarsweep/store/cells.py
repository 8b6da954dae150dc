"""What a lease says of its cell. Cells never change their settings, so each is read and parsed once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.words import CheckpointRef
from cifarsweep.store.records import Lease
from cifarsweep.store.tables import cell, study

_MOST = 1000


class Cells:
    """A memory of the cells that were claimed last."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, str, Settings]] = {}

    def lease(self, conn: Connection, row: Row[Any], checkpoints: tuple[CheckpointRef, ...], lease_s: float) -> Lease:
        """The lease that a row of `cs_trial` holds."""
        study_name, cell_name, settings = self._about(conn, row.cell_id)
        return Lease(
            trial_id=row.trial_id,
            study=study_name,
            number=row.number,
            cell=cell_name,
            seed=row.seed,
            settings=settings,
            attempt=row.attempt,
            flush_seq=row.flush_seq,
            checkpoints=checkpoints,
            lease_s=lease_s,
        )

    def _about(self, conn: Connection, cell_id: int) -> tuple[str, str, Settings]:
        if cell_id not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            query = select(study.c.name, cell.c.name.label("cell"), cell.c.settings)
            query = query.join_from(cell, study, study.c.study_id == cell.c.study_id).where(cell.c.cell_id == cell_id)
            row = conn.execute(query).one()
            self._known[cell_id] = (row.name, row.cell, Settings.model_validate_json(row.settings))
        return self._known[cell_id]
