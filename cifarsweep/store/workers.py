"""Who works here: rows for people, and for the wish to retry a trial elsewhere. No lease hangs on them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, update

from cifarsweep.store.clock import read_clock
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.tables import storable, worker


def register(conn: Connection, info: WorkerInfo) -> None:
    """Add the worker, or replace what is known of one of that id."""
    clock, now = read_clock(conn)
    conn.execute(delete(worker).where(worker.c.worker_id == info.worker_id))
    conn.execute(
        insert(worker).values(
            worker_id=info.worker_id,
            host=storable(info.host),
            pid=info.pid,
            device=storable(info.device),
            slots=info.slots,
            versions=json.dumps(dict(info.versions), sort_keys=True),
            started_at=datetime.now(UTC),
            clock=clock,
            beat=now,
        )
    )


def beat(conn: Connection, worker_id: str) -> None:
    """The worker is alive."""
    clock, now = read_clock(conn)
    conn.execute(update(worker).where(worker.c.worker_id == worker_id).values(clock=clock, beat=now))


def end(conn: Connection, worker_id: str) -> None:
    """The worker has gone in good order."""
    conn.execute(update(worker).where(worker.c.worker_id == worker_id).values(ended_at=datetime.now(UTC)))
