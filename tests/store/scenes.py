"""What the tests of the store have in common: small studies, rows, and ways to let time pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, case, create_engine, delete, func, make_url, select, text, update

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.database import backend_of
from cifarsweep.store.leases import Timing
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import branch, lease_check, metadata, trial

QUICK = Timing(lease_s=0.3, beat_s=0.05)


def make_cell(lr: float, name: str | None = None) -> Cell:
    settings = Settings(dataset="digits", optimizer=Optimizer(lr=lr), epochs=1)
    return Cell(name=name or f"lr={lr:g}", levels={"optimizer.lr": lr}, settings=settings)


def make_study(cells: int = 2, seeds: int = 3, name: str = "s", question: str = "Which learning rate?") -> Study:
    rates = [round(0.1 / 2**place, 9) for place in range(cells)]
    return Study(
        name=name,
        question=question,
        factors={"optimizer.lr": tuple(rates)},
        cells=tuple(make_cell(rate) for rate in rates),
        seeds=tuple(range(seeds)),
    )


def rows_at(*steps: int, name: str = "train/loss") -> list[MetricRow]:
    return [MetricRow(name, step, 1.0 / (step + 1)) for step in steps]


def saved_at(step: int, tag: str = "") -> CheckpointRef:
    return CheckpointRef(step, f"/checkpoints/{step}{tag}.pt", "0" * 64, 1000 + step)


def result(step: int = 10, accuracy: float = 0.5) -> TrialResult:
    return TrialResult(Outcome.FINISHED, step, {VAL_ACCURACY: accuracy}, "f" * 64)


def must_claim(store: Store, worker_id: str = "w") -> Lease:
    lease = store.queue.claim(worker_id)
    assert lease is not None
    return lease


def next_due(store: Store) -> float | None:
    """Seconds until a queued trial is due or a lease runs out; None where all trials are final."""

    def read(conn: Connection) -> float | None:
        clock, now = backend_of(conn).read_clock(conn)
        soonest = func.min(
            case(
                (trial.c.clock != clock, now),
                (trial.c.state == TrialState.LEASED.value, trial.c.lease_until),
                else_=func.coalesce(trial.c.not_before, now),
            )
        )
        open_states = (TrialState.QUEUED.value, TrialState.LEASED.value)
        moment = conn.execute(select(soonest).where(trial.c.state.in_(open_states))).scalar_one()
        return None if moment is None else max(0.0, float(moment) - now)

    return store._db.read(read)


def set_trial(store: Store, trial_id: int, **values: Any) -> None:
    store._db.write(lambda conn: conn.execute(update(trial).where(trial.c.trial_id == trial_id).values(values)))


def expire(store: Store, lease: Lease) -> None:
    """Let the lease have run out, and somebody have seen it."""
    set_trial(store, lease.trial_id, lease_until=0.0, expired=True)


def forget_check(store: Store) -> None:
    """Let nobody have checked the leases within the last second."""
    store._db.write(lambda conn: conn.execute(delete(lease_check)))


def clock_now(store: Store) -> float:
    return store._db.read(lambda conn: backend_of(conn).read_clock(conn))[1]


def make_due(store: Store, lease: Lease) -> None:
    """Let the back-off of the trial be over now."""
    set_trial(store, lease.trial_id, not_before=0.0)


def plan_branch(store: Store, source: int, step: int, follower: int) -> None:
    """Let the follower begin from the checkpoint of that step of the source, both by their ids."""

    def plan(conn: Connection) -> None:
        followed = {"source_id": source, "branch_step": step, "waits": True}
        conn.execute(update(trial).where(trial.c.trial_id == follower).values(followed))
        conn.execute(update(trial).where(trial.c.trial_id == source).values(waiting_steps=step))
        conn.execute(backend_of(conn).insert_ignore(branch), {"trial_id": source, "step": step})

    store._db.write(plan)


def taken_over(store: Store, lease: Lease, by: str = "successor") -> Lease:
    """Expire the lease and let another worker claim the trial."""
    expire(store, lease)
    successor = must_claim(store, by)
    assert successor.trial_id == lease.trial_id
    return successor


def contents(store: Store) -> dict[str, list[Any]]:
    """Every row of every table of ours, for comparison."""

    def read(conn: Any) -> dict[str, list[Any]]:
        return {name: sorted(map(tuple, conn.execute(select(table))), key=repr) for name, table in tables()}

    return store._db.read(read)


def administer(url: str, *statements: str) -> None:
    """Run statements that no transaction may hold."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for statement in statements:
            conn.execute(text(statement))
    engine.dispose()


def cut_connections(url: str) -> None:
    """Let the PostgreSQL server close every other connection to the database."""
    administer(url, _CUT)


def empty_database(url: str) -> None:
    """Close every other connection, delete every row and number from 1 on: faster than TRUNCATE.

    That makes new files for 27 tables and their indexes, which the next test has to open as well.
    """
    administer(url, _CUT, _DELETE)


_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_DELETE = """
DO $$ DECLARE statement text; BEGIN
  SET LOCAL session_replication_role = replica;  -- rows that refer to others ask for no order
  FOR statement IN
    SELECT format('DELETE FROM %I', tablename) FROM pg_tables
    WHERE schemaname = 'public' AND tablename NOT LIKE '%version%'
  LOOP EXECUTE statement; END LOOP;
  PERFORM setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences;
END $$
"""


def lose_one_commit(store: Store, monkeypatch: pytest.MonkeyPatch, *, happened: bool = True) -> None:
    """The connection goes at the next COMMIT, right after it has happened or right before."""
    engine = store._db.engine
    monkeypatch.setattr("cifarsweep.store.database.connection_lost", lambda error: True)
    commit = engine.dialect.do_commit
    left = [None]

    def vanish(connection: Any) -> None:
        if happened or not left:
            commit(connection)
        if left:
            left.clear()
            raise engine.dialect.loaded_dbapi.OperationalError("disk I/O error")

    monkeypatch.setattr(engine.dialect, "do_commit", vanish)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run the works in threads that begin together; their results, or what they raised."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait(200)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(begin, work) for work in works]]


def tables() -> Iterable[tuple[str, Any]]:
    return metadata.tables.items()


def steps_of(store: Store, name: str = "train/loss", number: int = 0, study: str = "s") -> list[int]:
    """The steps at which a trial has rows."""
    series = store.metrics.read(study, [name]).get((number, name))
    return [] if series is None else series[0].tolist()
