"""What becomes of trials that fail."""

import time

import pytest
from scenes import make_due, must_claim, next_due, result, rows_at, saved_at, set_trial, steps_of, taken_over

from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.records import WorkerInfo


@pytest.mark.parametrize("end", [AttemptEnd.EXCEPTION, AttemptEnd.OUT_OF_MEMORY])
def test_an_exception_gets_one_retry(busy_store: Store, end: AttemptEnd) -> None:
    first = must_claim(busy_store)
    assert busy_store.queue.fail(first, end, "boom", "first trace") is TrialState.QUEUED
    make_due(busy_store, first)

    second = must_claim(busy_store)
    state = busy_store.queue.fail(second, end, "boom again", "second trace", rows_at(1))

    row = busy_store.trials.get("s", 0)
    assert (second.number, state, row.state) == (0, TrialState.FAILED, TrialState.FAILED)
    assert (row.error, row.traceback) == ("boom again", "second trace")
    assert [attempt.error for attempt in row.attempts] == ["boom", "boom again"]
    assert steps_of(busy_store) == [1]


def test_a_retry_waits_a_while_and_longer_every_time(busy_store: Store) -> None:
    set_others_aside(busy_store)
    for wait_s in (10, 20, 40, 80):
        lease = must_claim(busy_store)
        assert lease.number == 0
        before = time.monotonic()
        busy_store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
        due_s = next_due(busy_store)
        passed_s = time.monotonic() - before
        make_due(busy_store, lease)
        assert wait_s - passed_s - 0.1 <= due_s <= wait_s


def set_others_aside(store: Store) -> None:
    for row in store.trials.all("s")[1:]:
        set_trial(store, row.number + 1, state=TrialState.DONE.value)


def test_a_failed_trial_is_not_claimed_before_its_time(busy_store: Store) -> None:
    busy_store.queue.fail(must_claim(busy_store), AttemptEnd.EXCEPTION, "boom", "")

    assert must_claim(busy_store).number == 1


def test_five_crashes_poison(busy_store: Store) -> None:
    for place in range(1, 6):
        lease = must_claim(busy_store)
        state = busy_store.queue.fail(lease, AttemptEnd.CRASHED, f"signal SIGSEGV, {place}", "")
        make_due(busy_store, lease)

    assert state is TrialState.POISONED
    assert busy_store.trials.get("s", 0).error == "signal SIGSEGV, 5"
    assert must_claim(busy_store).number == 1


def crash_on(store: Store, worker_id: str, host: str) -> TrialState:
    """The child of a worker on that host dies in the first trial."""
    store.queue.register_worker(WorkerInfo(worker_id, host, 1, "cpu", 1))
    lease = must_claim(store, worker_id)
    state = store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
    make_due(store, lease)
    return state


def test_workers_that_vanish_are_no_crashes(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    for _ in range(4):
        lease = taken_over(busy_store, lease)

    assert busy_store.queue.fail(lease, AttemptEnd.CRASHED, "died", "") is TrialState.QUEUED


def test_crashes_on_two_machines_poison(busy_store: Store) -> None:
    states = [crash_on(busy_store, f"w{place}", host) for place, host in enumerate(("a", "a", "b"))]

    assert states == [TrialState.QUEUED, TrialState.QUEUED, TrialState.POISONED]


def test_workers_of_one_machine_poison_only_by_many_crashes(busy_store: Store) -> None:
    states = [crash_on(busy_store, f"w{place}", "a") for place in range(5)]

    assert states == [TrialState.QUEUED] * 4 + [TrialState.POISONED]


def test_a_crash_before_the_last_checkpoint_does_not_count(busy_store: Store) -> None:
    crash_on(busy_store, "w1", "a")
    busy_store.queue.release(must_claim(busy_store, "w2"), rows_at(1), saved_at(1))

    assert crash_on(busy_store, "w3", "b") is TrialState.QUEUED


def test_a_crash_before_a_retry_does_not_count(busy_store: Store) -> None:
    for host in ("a", "b"):
        crash_on(busy_store, f"w-{host}", host)
    busy_store.control.retry("s", 0)

    assert crash_on(busy_store, "w3", "c") is TrialState.QUEUED


def test_a_release_counts_as_no_failure(busy_store: Store) -> None:
    for step in range(1, 8):
        lease = must_claim(busy_store)
        assert (lease.number, lease.step) == (0, step - 1)
        busy_store.queue.release(lease, rows_at(step), saved_at(step))

    busy_store.queue.finish(must_claim(busy_store), rows_at(8), None, result(8))

    row = busy_store.trials.get("s", 0)
    assert row.state is TrialState.DONE
    assert [attempt.end for attempt in row.attempts] == [AttemptEnd.RELEASED] * 7 + [AttemptEnd.DONE]
    assert steps_of(busy_store) == list(range(1, 9))


def test_rows_of_a_release_without_a_checkpoint_are_computed_again(busy_store: Store) -> None:
    busy_store.queue.release(must_claim(busy_store), rows_at(1, 2), None)

    lease = must_claim(busy_store)

    assert (lease.number, lease.step, steps_of(busy_store)) == (0, 0, [])


def test_the_wait_follows_the_lease() -> None:
    assert Timing().backoff_s(0) == 10
    assert Timing().backoff_s(3) == 80
    assert Timing(lease_s=0.6, beat_s=0.1).backoff_s(0) == pytest.approx(0.1)


def test_any_text_may_be_an_error(busy_store: Store) -> None:
    lease = must_claim(busy_store)

    busy_store.queue.fail(lease, AttemptEnd.EXCEPTION, "a\0b \udc80 <script>'\"; DROP", "café ☃")

    row = busy_store.trials.get("s", 0)
    assert (row.error, row.traceback) == ("a\N{REPLACEMENT CHARACTER}b ? <script>'\"; DROP", "café ☃")


@pytest.mark.parametrize("end", [AttemptEnd.EXCEPTION, AttemptEnd.CRASHED])
def test_a_failure_keeps_the_checkpoint_that_came_with_it(busy_store: Store, end: AttemptEnd) -> None:
    lease = must_claim(busy_store)

    busy_store.queue.fail(lease, end, "boom", "", rows_at(1, 2, 3), saved_at(2))
    make_due(busy_store, lease)

    again = must_claim(busy_store)
    assert (again.trial_id, again.step) == (lease.trial_id, 2)
    assert steps_of(busy_store) == [1, 2]
