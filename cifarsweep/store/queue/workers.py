"""Workers: what each trains with, as reports and leases need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from cifarsweep.spec.provenance import DEVICE, without_data
from cifarsweep.store import columns, rows
from cifarsweep.store.column_types import storable
from cifarsweep.store.database import Part, backend_of, writing
from cifarsweep.store.records import Segment, WorkerInfo
from cifarsweep.store.schema import attempt, worker


class Workers(Part):
    """Workers that are alive, for people and to retry a trial elsewhere. No lease depends on these rows."""

    @writing
    def register_worker(self, conn: Connection, info: WorkerInfo) -> None:
        """Add the worker, before its first claim, or replace what is known of one of that id."""
        clock, now = backend_of(conn).read_clock(conn)
        before = conn.execute(select(worker).where(worker.c.worker_id == info.worker_id)).first()
        if before is not None:
            _keep(conn, before, info)
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

    @writing
    def beat_worker(self, conn: Connection, worker_id: str) -> None:
        """Record that the worker is alive; `write` records it for a trial."""
        clock, now = backend_of(conn).read_clock(conn)
        conn.execute(update(worker).where(worker.c.worker_id == worker_id).values(clock=clock, beat=now))

    @writing
    def end_worker(self, conn: Connection, worker_id: str) -> None:
        """Record that the worker has gone in good order."""
        conn.execute(update(worker).where(worker.c.worker_id == worker_id).values(ended_at=datetime.now(UTC)))


def _keep(conn: Connection, before: Row[Any], info: WorkerInfo) -> None:
    """Copy the worker's device and versions to its attempts so far, before the worker's row changes."""
    known = parsed_versions(before.versions)
    if before.device == storable(info.device) and without_data(known) == without_data(info.versions):
        return
    mine = attempt.c.worker_id == info.worker_id, attempt.c.device.is_(None)
    for row in conn.execute(select(attempt).where(*mine)).all():
        values = {"device": before.device, "versions": json.dumps(versions_of(known, row.versions), sort_keys=True)}
        is_it = attempt.c.trial_id == row.trial_id, attempt.c.attempt == row.attempt
        conn.execute(update(attempt).where(*is_it).values(values))


def history(conn: Connection, trial_id: int) -> tuple[Segment, ...]:
    """The segments of a trial, oldest first."""
    query = select(attempt, worker.c.device.label("of_worker"), worker.c.versions.label("worker_versions"))
    query = query.outerjoin(worker, worker.c.worker_id == attempt.c.worker_id).where(attempt.c.trial_id == trial_id)
    found = conn.execute(query.order_by(attempt.c.attempt))
    return tuple(Segment(rows.column(attempt.c.first_step, row.first_step), _environment(row)) for row in found)


def _environment(row: Row[Any]) -> dict[str, str]:
    own, device = parsed_versions(row.versions), row.device or row.of_worker
    found = own if row.device else versions_of(parsed_versions(row.worker_versions), row.versions)
    return found | ({DEVICE: device} if device else {})


def parsed_versions(text: str | None) -> dict[str, str]:
    """The versions of a row; empty if it is no JSON object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}


def versions_of(of_worker: Mapping[str, str], of_attempt: str | None) -> dict[str, str]:
    """The versions of an attempt without a device: its worker's, and the digests of its own images."""
    own = parsed_versions(of_attempt)
    return {**(without_data(of_worker) if own else of_worker), **own}


class KnownWorker(NamedTuple):
    """What a worker registered."""

    host: str
    device: str
    versions: Mapping[str, str]


NO_WORKER = KnownWorker("", "", {})


def workers_of(conn: Connection, ids: Any) -> dict[str, KnownWorker]:
    """The registered workers among those ids.

    A worker whose row can't be read counts as unknown: it may have worked for many studies. `db check` names it.
    """
    found = {}
    for row in conn.execute(select(worker).where(worker.c.worker_id.in_(ids))):
        with suppress(columns.BadValue):
            one = rows.read(worker, row)
            found[one["worker_id"]] = KnownWorker(one["host"], one["device"], parsed_versions(one["versions"]))
    return found
