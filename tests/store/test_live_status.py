"""What people who watch are told, on both databases: all of it, and that something has changed."""

import math

import pytest
from scenes import make_study, must_claim, rows_at

from cifarsweep.spec.types import AttemptEnd, MetricRow
from cifarsweep.store.cached import CachedStore
from cifarsweep.store.records import WorkerInfo


@pytest.fixture
def watched(busy_store, url):
    with CachedStore.open(url, read_only=True) as opened:
        yield opened


def test_a_running_trial_is_told_with_its_newest_values(busy_store, watched):
    busy_store.queue.register_worker(WorkerInfo("w", "node", 1, "cpu", 2))
    lease = busy_store.queue.write(must_claim(busy_store), rows_at(*range(50)))
    busy_store.queue.write(lease, [MetricRow("train/loss", 50, math.nan), MetricRow("epoch", 50, 1.5)])

    seen = watched.snapshot()

    running = seen.running["s", 0]
    assert (running.cell, running.seed, running.newest["epoch"]) == ("lr=0.1", 0, 1.5)
    assert math.isnan(running.newest["train/loss"]) and "val/accuracy" not in running.newest
    assert [(worker.worker_id, worker.slots) for worker in seen.workers] == [("w", 2)]


def test_workers_that_have_gone_are_not_told(busy_store, watched):
    busy_store.queue.register_worker(WorkerInfo("w", "node", 1, "cpu", 2))
    busy_store.queue.end_worker("w")

    assert watched.snapshot().workers == []


def test_the_newest_errors_come_first(busy_store, watched):
    for text in ("first", "second"):
        busy_store.queue.fail(must_claim(busy_store), AttemptEnd.EXCEPTION, text, "Traceback")

    errors = watched.snapshot().errors

    assert [(error.error, error.study, error.trial, error.end) for error in errors] == [
        ("second", "s", 1, "exception"),
        ("first", "s", 0, "exception"),
    ]


def test_the_stamp_of_a_study_changes_with_every_write_and_only_then(busy_store, watched):
    busy_store.studies.create(make_study(name="other"))
    stamps = [watched.fingerprints()]
    lease = must_claim(busy_store)
    stamps.append(watched.fingerprints())
    lease = busy_store.queue.write(lease, rows_at(1))
    stamps.append(watched.fingerprints())
    busy_store.queue.release(lease, [], None)
    stamps.append(watched.fingerprints())
    must_claim(busy_store)
    stamps.append(watched.fingerprints())

    assert watched.fingerprints() == stamps[-1]
    assert len({stamp["s"] for stamp in stamps}) == 5
    assert len({stamp["other"] for stamp in stamps}) == 1


def test_a_watched_store_reads_what_every_store_reads(busy_store, watched):
    for steps in ((1, 2), (3,)):
        lease = busy_store.queue.write(must_claim(busy_store), rows_at(*steps))
        for _ in range(2):
            assert _plain(watched.metrics.read("s", ["train/loss"])) == _plain(
                busy_store.metrics.read("s", ["train/loss"])
            )
    busy_store.queue.rewind(lease, 0)

    assert _plain(watched.metrics.read("s", ["train/loss"])) == {(0, "train/loss"): [[1, 2], [0.5, 1 / 3]]}
    assert watched.metrics.read("s", ["train/loss"], only=[1]) == {}


def _plain(series):
    return {key: [list(values) for values in pair] for key, pair in series.items()}


def test_a_running_trial_has_its_steps_in_all_and_its_last_values(busy_store):
    """Given that its worker knows how long it is, when it writes, then `status` has it; later writes keep it."""
    lease = busy_store.queue.write(must_claim(busy_store), rows_at(1, 2, 3), total_steps=40)
    busy_store.queue.write(lease, [MetricRow("val/accuracy", 4, 0.25)])

    (study,) = busy_store.studies.status("s", live=True)
    (plain,) = busy_store.studies.status("s")

    (held,) = study.workers
    assert (held.step, held.total_steps, held.metric) == (4, 40, "val/accuracy")
    assert held.newest == {"train/loss": 0.25, "val/accuracy": 0.25}
    assert plain.workers[0].newest == {} and plain.workers[0].total_steps == 40
