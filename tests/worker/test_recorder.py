"""The recorder while the database comes and goes; everything else of it is tested through whole workers."""

import pytest

from cifarsweep.errors import LeaseLost, StoreUnavailable
from cifarsweep.spec.types import CheckpointRef, MetricRow
from cifarsweep.store import Store
from cifarsweep.store.metrics import insert_rows
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
