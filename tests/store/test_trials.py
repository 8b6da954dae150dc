"""What people see of a running and of a finished study."""

import math
from datetime import UTC, datetime

import pytest
from scenes import make_study, must_claim, next_due, result, rows_at, saved_at, set_trial

from cifarsweep.errors import StoreError, UnknownStudy
from cifarsweep.spec.types import FINAL_STATES, AttemptEnd, MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo

INFO = WorkerInfo("w", "box", 42, "NVIDIA H200", 4, {"torch": "2.10"})


def test_the_status_counts_every_state(busy_store: Store) -> None:
    busy_store.queue.fail(must_claim(busy_store), AttemptEnd.EXCEPTION, "boom", "")
    must_claim(busy_store)
    done = must_claim(busy_store)
    busy_store.queue.finish(done, [MetricRow("elapsed_s", 9, 2.5)], None, TrialResult(Outcome.FINISHED, 9, {}, "a"))

    (status,) = busy_store.studies.status("s")

    assert dict(status.trials) == {
        TrialState.QUEUED: 4,
        TrialState.LEASED: 1,
        TrialState.PAUSED: 0,
        TrialState.DONE: 1,
        TrialState.FAILED: 0,
        TrialState.POISONED: 0,
        TrialState.CANCELLED: 0,
    }
    assert (status.study, status.done_s) == ("s", 2.5)


def test_the_status_of_all_studies_is_a_list(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 2, name="a"))

    assert [(one.study, one.trials[TrialState.QUEUED]) for one in busy_store.studies.status()] == [("s", 6), ("a", 2)]


@pytest.mark.parametrize("state", TrialState)
def test_a_study_is_left_while_one_of_its_trials_is_not_final(busy_store: Store, state: TrialState) -> None:
    busy_store.control.cancel("s")
    busy_store.studies.create(make_study(1, 2, name="a"))

    set_trial(busy_store, 5, state=state.value)

    assert busy_store.queue.studies_left() == (["a"] if state in FINAL_STATES else ["s", "a"])
    assert busy_store.queue.studies_left(["a", "s"]) == (["a"] if state in FINAL_STATES else ["a", "s"])


def test_whether_an_unknown_study_is_left_is_an_error(busy_store: Store) -> None:
    with pytest.raises(UnknownStudy):
        busy_store.queue.studies_left(["s", "no-such"])


def test_the_status_shows_who_works_at_what(busy_store: Store) -> None:
    busy_store.queue.register_worker(INFO)
    busy_store.queue.write(must_claim(busy_store, "w"), rows_at(1, 7))

    (worker,) = busy_store.studies.status("s")[0].workers

    assert (worker.worker_id, worker.host, worker.device) == ("w", "box", "NVIDIA H200")
    assert (worker.trial, worker.attempt, worker.step, worker.expired) == (0, 1, 7, False)
    assert worker.last_beat_s is not None and 0 <= worker.last_beat_s < 20


def test_the_status_tells_speed_and_time_left_of_those_who_live(busy_store: Store) -> None:
    done = must_claim(busy_store)
    busy_store.queue.finish(done, [MetricRow("elapsed_s", 9, 60.0)], None, result())
    for place, worker in enumerate("ab"):
        lease = busy_store.queue.claim(worker, slot=place)
        assert lease is not None
        rows = [MetricRow("images_per_s", step, 100.0 * step) for step in (1, 2)]
        busy_store.queue.write(lease, [*rows, MetricRow("elapsed_s", 2, 30.0)])

    (status,) = busy_store.studies.status("s", live=True)

    assert [(worker.slot, worker.elapsed_s, worker.images_per_s) for worker in status.workers] == [
        (0, 30.0, 200.0),
        (1, 30.0, 200.0),
    ]
    assert (status.images_per_s, status.trials_per_h, status.left_s) == (400.0, 120.0, (3 * 60 + 2 * 30) / 2)
    for worker in status.workers:
        set_trial(busy_store, worker.trial + 1, lease_until=0.0)
    (status,) = busy_store.studies.status("s", live=True)
    assert (status.images_per_s, status.trials_per_h, status.left_s) == (None, None, None)


def test_the_status_shows_leases_that_ran_out(busy_store: Store) -> None:
    lease, older = must_claim(busy_store), must_claim(busy_store)
    set_trial(busy_store, lease.trial_id, lease_until=0.0)
    set_trial(busy_store, older.trial_id, clock="another boot")

    first, second = busy_store.studies.status("s")[0].workers

    assert first.expired and first.last_beat_s is not None
    assert second.expired and second.last_beat_s is None


def test_a_finished_trial_tells_everything(busy_store: Store) -> None:
    before = datetime.now(UTC)
    busy_store.queue.register_worker(INFO)
    lease = busy_store.queue.write(must_claim(busy_store, "w"), rows_at(1), saved_at(1))
    final = {"val/accuracy": 0.75, "val/loss": math.nan, "train/loss": math.inf}
    busy_store.queue.finish(lease, [], saved_at(9), TrialResult(Outcome.DIVERGED, 9, final, "abc"))

    row = busy_store.trials.get("s", 0)

    assert (row.state, row.outcome, row.value, row.step) == (TrialState.DONE, Outcome.DIVERGED, 0.75, 9)
    assert (row.cell, row.seed, dict(row.levels)) == ("lr=0.1", 0, {"optimizer.lr": 0.1})
    assert row.settings == lease.settings
    assert math.isnan(row.final["val/loss"]) and row.final["train/loss"] == math.inf
    (attempt,) = row.attempts
    assert (attempt.host, attempt.device, dict(attempt.versions)) == ("box", "NVIDIA H200", {"torch": "2.10"})
    assert attempt.end is AttemptEnd.DONE
    assert row.started_at is not None and row.finished_at is not None
    assert before <= row.started_at <= row.finished_at <= datetime.now(UTC)


def test_an_untouched_trial_has_no_history(busy_store: Store) -> None:
    row = busy_store.trials.get("s", 5)

    assert (row.state, row.attempts, row.error, row.started_at, row.value) == (TrialState.QUEUED, (), "", None, None)


def test_an_unknown_trial_names_the_range(busy_store: Store) -> None:
    with pytest.raises(StoreError, match=r"no trial 6; its trials are 0 to 5"):
        busy_store.trials.get("s", 6)


def test_a_worker_that_registers_again_is_one_worker(busy_store: Store) -> None:
    busy_store.queue.register_worker(INFO)
    busy_store.queue.register_worker(INFO)
    busy_store.queue.beat_worker("w")
    busy_store.queue.end_worker("w")
    must_claim(busy_store, "w")

    assert len(busy_store.studies.status("s")[0].workers) == 1


def test_the_next_moment_is_the_soonest(busy_store: Store) -> None:
    for _ in range(6):
        must_claim(busy_store)
    assert next_due(busy_store) == pytest.approx(60, abs=5)

    set_trial(busy_store, 1, lease_until=0.0)

    assert next_due(busy_store) == 0.0
