"""Trials that were trained elsewhere, as a study of their own that nobody trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from cifarsweep.errors import StudyExists
from cifarsweep.spec.metrics import ELAPSED, VAL_ACCURACY
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import TrialState
from cifarsweep.store.columns import kind_of
from cifarsweep.store.database import backend_of
from cifarsweep.store.metrics import insert_rows
from cifarsweep.store.records import FinishedRun
from cifarsweep.store.schema import cell, study, trial
from cifarsweep.store.studies import cell_row


def add(conn: Connection, spec: Study, runs: Sequence[FinishedRun]) -> int:
    """Add the study with a trial that is done for each run; returns how many. Raises StudyExists."""
    fresh = {"name": spec.name, "sha256": spec.sha256, "spec": spec.canonical(), "created_at": datetime.now(UTC)}
    # Not by the count of rows, which PostgreSQL's driver does not know of an INSERT like this.
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
    value = final.get(VAL_ACCURACY)
    return {
        "state": run.state.value,
        "outcome": run.outcome.value if run.outcome else None,
        "value": value if value is not None and kind_of(value) is None else None,
        "final": json.dumps({name: kind_of(number) or number for name, number in final.items()}),
        "step": max(row.step for row in run.rows),
        "elapsed_s": last.get(ELAPSED, final.get(ELAPSED, 0.0)),
    }
