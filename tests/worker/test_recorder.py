"""The recorder while the database comes and goes; everything else of it is tested through whole workers."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, insert, update

from cifarsweep.errors import LeaseLost, StoreUnavailable
from cifarsweep.spec.metrics import ENERGY
from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.metrics import insert_rows
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import branch, trial
from cifarsweep.worker.outage import OutageBackoff
from cifarsweep.worker.recorder import Recorder


class NoBroom:
    def __init__(self):
        self.removed = []

    def remove(self, paths):
        self.removed += paths

    def keep_only(self, path):
        pass


def test_a_rewind_waits_for_a_database_that_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = store.queue.claim("w")
    assert lease
    rows = [MetricRow("train/loss", step, 0.5) for step in (1, 2, 3, 4)]
    lease = store.queue.write(lease, rows, CheckpointRef(4, "/gone/4.pt", "0" * 64, 10))
    now = [0.0]
    recorder = Recorder(store, lease, OutageBackoff(lambda: now[0]), lambda: now[0], NoBroom())

    def away(lease, step):
        raise StoreUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "rewind", away)
        recorder.rewind(2)
        recorder.add((MetricRow("train/loss", 3, 0.25),))
    now[0] = 100.0
    recorder.mark_alive()
    recorder.flush_if_due(10.0)

    steps, values = store.metrics.read("demo", ["train/loss"])[lease.number, "train/loss"]
    assert steps.tolist() == [1, 2, 3]
    assert values.tolist() == [0.5, 0.5, 0.25]
    assert recorder.lease.step == 0


def test_after_a_fallback_the_checkpoint_it_fell_back_to_is_kept(store: Store) -> None:
    good, damaged, new = (CheckpointRef(step, f"/place/{step}.pt", "0" * 64, 10) for step in (2, 4, 5))
    lease = store.queue.claim("w")
    assert lease
    for checkpoint in (good, damaged):
        lease = store.queue.write(lease, [], checkpoint)
    broom = NoBroom()
    recorder = Recorder(store, lease, OutageBackoff(lambda: 0.0), lambda: 0.0, broom)

    recorder.rewind(2)
    recorder.set_checkpoint(new)
    recorder.flush_if_due(10.0)

    assert broom.removed == [damaged.path]
    assert [ref.step for ref in recorder.lease.checkpoints] == [5, 2]


def test_a_row_that_somebody_wrote_by_hand_costs_the_lease_and_not_the_worker(store: Store) -> None:
    lease = store.queue.claim("w")
    assert lease
    recorder = Recorder(store, lease, OutageBackoff(lambda: 0.0), lambda: 0.0, NoBroom())
    row = MetricRow("train/loss", 7, 0.5)
    store._db.write(lambda conn: insert_rows(conn, lease.trial_id, [row]))
    recorder.add((row,))

    with pytest.raises(LeaseLost, match="trial demo/0: .*UNIQUE.*db check"):
        recorder.flush()


def identity(lease: Lease, steps: int | None) -> str:
    """All trials have the same first steps."""
    return str(steps or lease.trial_id)


@pytest.fixture
def trunk(store: Store) -> Lease:
    """The lease of a trial from whose step 4 another one is to begin."""

    def plan(conn: Connection) -> None:
        conn.execute(insert(branch).values(trial_id=1, step=4))
        conn.execute(update(trial).where(trial.c.trial_id == 1).values(waiting_steps=1))
        conn.execute(update(trial).where(trial.c.trial_id == 2).values(source_id=1, branch_step=4))

    store._db.write(plan)
    lease = store.queue.claim("w", identify=identity)
    assert lease
    return lease


@pytest.fixture
def branched(store: Store, trunk: Lease) -> Lease:
    """The lease of the other one."""
    rows = [MetricRow(name, step, 10.0 * step) for name in ("train/loss", ENERGY) for step in (1, 2, 3, 4)]
    store.queue.keep_branches(trunk, rows, [CheckpointRef(4, "/place/4.pt", "0" * 64, 10)])
    lease = store.queue.claim("w", identify=identity)
    assert lease and lease.branch
    return lease


def test_a_beginning_waits_for_a_database_that_is_away(
    store: Store, branched: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    recorder = Recorder(store, branched, OutageBackoff(lambda: now[0]), lambda: now[0], NoBroom())

    def away(lease):
        raise StoreUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "begin", away)
        recorder.begin()
        recorder.add((MetricRow("train/loss", 4, 0.25),))
    now[0] = 100.0
    recorder.mark_alive()
    recorder.flush_if_due(10.0)

    steps, values = store.metrics.read("demo", ["train/loss"])[branched.number, "train/loss"]
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3, 4], [10.0, 20.0, 30.0, 0.25])


def test_energy_goes_on_from_that_of_the_trunk(store: Store, branched: Lease) -> None:
    recorder = Recorder(store, branched, OutageBackoff(lambda: 0.0), lambda: 0.0, NoBroom())

    recorder.begin()

    assert recorder.last_committed(ENERGY) == MetricRow(ENERGY, 3, 30.0)


def test_a_checkpoint_for_others_that_comes_with_the_end_of_its_trial_is_recorded(store: Store, trunk: Lease) -> None:
    recorder = Recorder(store, trunk, OutageBackoff(lambda: 0.0), lambda: 0.0, NoBroom(), NoBroom())
    recorder.add((MetricRow("train/loss", 3, 0.5),))
    recorder.keep_branch(CheckpointRef(4, "/place/4.pt", "0" * 64, 10))
    recorder.add((MetricRow("train/loss", 4, 0.25),))

    recorder.finish(TrialResult(Outcome.FINISHED, 4, {}, "f" * 64))

    follower = store.queue.claim("w", identify=identity)
    assert recorder.closed and follower and follower.branch and store.queue.begin(follower)
    assert store.metrics.read("demo", ["train/loss"])[follower.number, "train/loss"][0].tolist() == [3]


def test_a_checkpoint_for_others_that_nobody_waits_for_is_removed(store: Store) -> None:
    lease = store.queue.claim("w")
    assert lease
    broom = NoBroom()
    lease = replace(lease, branch_steps={4: "identity"})
    recorder = Recorder(store, lease, OutageBackoff(lambda: 0.0), lambda: 0.0, NoBroom(), broom)

    recorder.keep_branch(CheckpointRef(4, "/place/4.pt", "0" * 64, 10))
    recorder.mark_alive()
    recorder.flush_if_due(10.0)

    assert broom.removed == ["/place/4.pt"]
