import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from typing import Any

from scenes import (
    QUICK,
    clock_now,
    expire,
    forget_check,
    make_study,
    must_claim,
    next_due,
    result,
    rows_at,
    saved_at,
    set_trial,
    steps_of,
    taken_over,
)
from support.forks import forks

from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo

#: In each process of a pool, where it waits for the others.
_meeting: Any = None


def meet(barrier: Any) -> None:
    """Let no process begin before all of them can."""
    global _meeting
    _meeting = barrier
    barrier.wait(240)


def claim_all(url: str, worker_id: str) -> list[int]:
    """Claim and finish until nothing is left; returns the numbers of the trials."""
    numbers = []
    with Store.open(url) as store:
        while lease := store.queue.claim(worker_id):
            store.queue.finish(lease, rows_at(1, 2), None, result())
            numbers.append(lease.number)
            if len(numbers) == 1:
                _meeting.wait(240)  # else one process could be done before the others get the lock
    return numbers


def test_trials_are_claimed_seed_by_seed(busy_store: Store) -> None:
    leases = [must_claim(busy_store) for _ in range(6)]

    assert [lease.number for lease in leases] == [0, 1, 2, 3, 4, 5]
    assert [lease.seed for lease in leases] == [0, 0, 1, 1, 2, 2]
    assert [lease.cell for lease in leases] == ["lr=0.1", "lr=0.05"] * 3
    assert leases[1].settings.optimizer.lr == 0.05
    assert busy_store.queue.claim("w") is None


def test_a_fresh_lease_starts_from_nothing(busy_store: Store) -> None:
    lease = must_claim(busy_store, "me")

    assert (lease.study, lease.attempt, lease.flush_seq, lease.checkpoints, lease.step) == ("s", 1, 0, (), 0)
    assert lease.lease_s == 60.0


def test_six_processes_claim_120_trials_once_each(url: str) -> None:
    with Store.open(url) as store:
        store.studies.create(make_study(cells=4, seeds=30))
    context = forks()

    with ProcessPoolExecutor(6, mp_context=context, initializer=meet, initargs=(context.Barrier(6),)) as pool:
        claimed = list(pool.map(claim_all, [url] * 6, [f"w{n}" for n in range(6)]))

    assert sorted(chain(*claimed)) == list(range(120))
    assert all(claimed)
    with Store.open(url) as store:
        assert store.studies.status("s")[0].trials[TrialState.DONE] == 120
        assert {len(row.attempts) for row in store.trials.all("s")} == {1}
        assert store.admin.check() == []


def test_an_expired_lease_is_taken_over_from_its_checkpoint(busy_store: Store) -> None:
    lease = must_claim(busy_store, "dead")
    lease = busy_store.queue.write(lease, rows_at(1, 2), saved_at(2))
    lease = busy_store.queue.write(lease, rows_at(3, 4), saved_at(4))
    busy_store.queue.write(lease, rows_at(5, 6))

    successor = taken_over(busy_store, lease)

    assert (successor.number, successor.attempt, successor.flush_seq) == (0, 2, 0)
    assert successor.checkpoints == (saved_at(4), saved_at(2))
    assert steps_of(busy_store) == [1, 2, 3, 4]
    first, second = busy_store.trials.get("s", 0).attempts
    assert (first.worker_id, first.end, first.first_step) == ("dead", AttemptEnd.TAKEN_OVER, 0)
    assert (second.worker_id, second.end, second.first_step) == ("successor", None, 4)


def test_without_a_checkpoint_everything_is_computed_again(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    lease = busy_store.queue.write(lease, rows_at(1, 2, 3))

    successor = taken_over(busy_store, lease)

    assert successor.checkpoints == ()
    assert steps_of(busy_store) == []
    assert steps_of(busy_store, number=1) == []


def test_a_lease_runs_out_by_the_clock(busy_store: Store, url: str) -> None:
    assert must_claim(busy_store, "alive").number == 0
    with Store.open(url, timing=QUICK) as quick:
        lease = must_claim(quick, "dead")
        assert lease.number == 1

        time.sleep(QUICK.lease_s + 0.05)

        assert must_claim(quick, "next").trial_id == lease.trial_id


def test_leases_of_before_the_last_boot_have_run_out(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    set_trial(busy_store, lease.trial_id, clock="another boot", lease_until=1e18)
    forget_check(busy_store)

    assert must_claim(busy_store, "next").trial_id == lease.trial_id


def test_no_trial_is_poisoned_by_workers_that_vanish(store: Store) -> None:
    store.studies.create(make_study(1, 1))
    lease = must_claim(store)
    for place in range(1, 21):
        lease = taken_over(store, lease, f"w{place}")
        assert (lease.attempt, lease.takeovers) == (place + 1, place)

    store.queue.finish(lease, rows_at(1), None, result())

    ends = [attempt.end for attempt in store.trials.get("s", 0).attempts]
    assert ends == [AttemptEnd.TAKEN_OVER] * 20 + [AttemptEnd.DONE]


def test_a_trial_with_which_many_workers_vanished_waits_behind_all_others(busy_store: Store) -> None:
    numbers = range(len(busy_store.trials.all("s")))
    ominous = must_claim(busy_store)
    for _ in range(5):
        ominous = taken_over(busy_store, ominous)
    expire(busy_store, ominous)

    leases = [must_claim(busy_store) for _ in numbers]

    assert [lease.number for lease in leases] == [*numbers[1:], 0]
    assert [lease.takeovers for lease in leases] == [0] * len(numbers[1:]) + [6]


def test_a_new_checkpoint_forgives_the_workers_that_vanished(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    for _ in range(4):
        lease = taken_over(busy_store, lease)

    lease = busy_store.queue.write(lease, rows_at(1), saved_at(1))

    assert taken_over(busy_store, lease).takeovers == 1


def test_a_checkpoint_that_was_there_before_forgives_nothing(busy_store: Store) -> None:
    lease = busy_store.queue.write(must_claim(busy_store), rows_at(1), saved_at(1))
    for _ in range(4):
        lease = busy_store.queue.rewind(taken_over(busy_store, lease), 0)
        lease = busy_store.queue.write(lease, rows_at(1), saved_at(1))

    assert taken_over(busy_store, lease).takeovers == 5


def test_claims_can_be_kept_to_some_studies(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 1, name="other"))

    assert must_claim(busy_store).study == "s"
    lease = busy_store.queue.claim("w", studies=["other"])

    assert lease is not None and lease.study == "other"
    assert busy_store.queue.claim("w", studies=["other"]) is None
    assert all(busy_store.queue.has_unfinished(names) for names in (["other"], ["s"], None))
    queued = [busy_store.queue.has_unfinished(names, queued_only=True) for names in (["other"], ["s"], None)]
    assert queued == [False, True, True]


def test_nothing_is_due_when_all_is_done(store: Store) -> None:
    store.studies.create(make_study(1, 1))

    store.queue.finish(must_claim(store), [], None, result())

    assert (store.queue.has_unfinished(), next_due(store), store.queue.claim("w")) == (False, None, None)


def test_out_of_memory_is_tried_elsewhere_while_there_is_an_elsewhere(busy_store: Store) -> None:
    for worker_id in ("small", "large"):
        busy_store.queue.register_worker(WorkerInfo(worker_id, "host", 1, "gpu", 1))
    lease = must_claim(busy_store, "small")
    busy_store.queue.fail(lease, AttemptEnd.OUT_OF_MEMORY, "no room", "")
    set_trial(busy_store, lease.trial_id, not_before=clock_now(busy_store))

    assert must_claim(busy_store, "small").number == 1
    assert must_claim(busy_store, "large").number == 0


def test_out_of_memory_is_tried_again_here_when_all_others_left(busy_store: Store) -> None:
    for worker_id in ("small", "large"):
        busy_store.queue.register_worker(WorkerInfo(worker_id, "host", 1, "gpu", 1))
    lease = must_claim(busy_store, "small")
    busy_store.queue.fail(lease, AttemptEnd.OUT_OF_MEMORY, "no room", "")
    set_trial(busy_store, lease.trial_id, not_before=clock_now(busy_store))

    busy_store.queue.end_worker("large")

    assert must_claim(busy_store, "small").number == 0
