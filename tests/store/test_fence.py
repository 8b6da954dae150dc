"""What a worker may write that was replaced (nothing), and what becomes of writes whose answer was lost."""

from collections.abc import Callable
from typing import Any

import pytest
from scenes import contents, expire, lose_one_commit, must_claim, result, rows_at, saved_at, steps_of, taken_over

from cifarsweep.errors import LeaseLost, StoreError
from cifarsweep.spec.types import AttemptEnd, MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import ClaimRequest, Lease

Act = Callable[[Store, Lease], Any]

ACTS: dict[str, Act] = {
    "write": lambda store, lease: store.queue.write(lease, rows_at(9), saved_at(9)),
    "beat": lambda store, lease: store.queue.write(lease, []),
    "rewind": lambda store, lease: store.queue.rewind(lease, 0),
    "finish": lambda store, lease: store.queue.finish(lease, rows_at(9), saved_at(9), result(9)),
    "finish and claim": lambda store, lease: store.queue.finish(
        lease, rows_at(9), saved_at(9), result(9), ClaimRequest("w")
    ),
    "fail": lambda store, lease: store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "trace", rows_at(9)),
    "release": lambda store, lease: store.queue.release(lease, rows_at(9), saved_at(9)),
}


def begun(store: Store) -> Lease:
    return store.queue.write(must_claim(store), rows_at(1, 2), saved_at(2))


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_a_zombie_changes_nothing(busy_store: Store, act: Act) -> None:
    zombie = begun(busy_store)
    taken_over(busy_store, zombie)
    before = contents(busy_store)

    with pytest.raises(LeaseLost, match=r"trial s/0: the lease of attempt 1 is gone"):
        act(busy_store, zombie)

    assert contents(busy_store) == before


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_a_zombie_changes_nothing_after_its_successor_finished(busy_store: Store, act: Act) -> None:
    zombie = begun(busy_store)
    busy_store.queue.finish(taken_over(busy_store, zombie), [], None, result())
    before = contents(busy_store)

    with pytest.raises(LeaseLost):
        act(busy_store, zombie)

    assert contents(busy_store) == before


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_nobody_writes_for_a_trial_that_was_given_back(busy_store: Store, act: Act) -> None:
    lease = begun(busy_store)
    busy_store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
    before = contents(busy_store)

    with pytest.raises(LeaseLost):
        act(busy_store, lease)

    assert contents(busy_store) == before


def test_an_owner_that_nobody_replaced_may_renew_late(busy_store: Store) -> None:
    lease = begun(busy_store)
    expire(busy_store, lease)

    busy_store.queue.write(lease, rows_at(3))

    assert must_claim(busy_store, "other").number == 1
    assert steps_of(busy_store) == [1, 2, 3]


def test_every_write_advances_the_fence(busy_store: Store) -> None:
    first = must_claim(busy_store)
    second = busy_store.queue.write(first, rows_at(1))
    third = busy_store.queue.write(second, rows_at(2))

    with pytest.raises(LeaseLost):
        busy_store.queue.write(first, rows_at(3))

    assert (second.flush_seq, third.flush_seq) == (1, 2)
    assert steps_of(busy_store) == [1, 2]


def test_the_last_two_checkpoints_are_kept(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    for step in (1, 2, 3):
        lease = busy_store.queue.write(lease, rows_at(step), saved_at(step))

    assert lease.checkpoints == (saved_at(3), saved_at(2))
    assert taken_over(busy_store, lease).checkpoints == (saved_at(3), saved_at(2))


def test_a_checkpoint_of_the_same_step_replaces_the_earlier(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    for checkpoint in (saved_at(1), saved_at(2, "a"), saved_at(2, "b")):
        lease = busy_store.queue.write(lease, [], checkpoint)

    assert lease.checkpoints == (saved_at(2, "b"), saved_at(1))
    assert taken_over(busy_store, lease).checkpoints == lease.checkpoints


def test_after_a_rewind_the_same_steps_are_written_again(busy_store: Store) -> None:
    lease = busy_store.queue.write(begun(busy_store), rows_at(3, 4), saved_at(4))

    lease = busy_store.queue.rewind(lease, 2)

    assert (lease.checkpoints, steps_of(busy_store)) == ((saved_at(2),), [1, 2])
    lease = busy_store.queue.write(lease, rows_at(3, 4), saved_at(4))
    assert steps_of(busy_store) == [1, 2, 3, 4]
    assert taken_over(busy_store, lease).checkpoints == (saved_at(4), saved_at(2))


def test_a_rewind_to_the_start_leaves_nothing(busy_store: Store) -> None:
    lease = busy_store.queue.rewind(begun(busy_store), 0)

    assert (lease.checkpoints, steps_of(busy_store)) == ((), [])
    assert taken_over(busy_store, lease).checkpoints == ()


def test_a_row_that_comes_twice_is_an_error_and_leaves_nothing_behind(busy_store: Store) -> None:
    lease = begun(busy_store)

    with pytest.raises(StoreError):
        busy_store.queue.write(lease, [MetricRow("train/loss", 3, 1.0), MetricRow("train/loss", 3, 2.0)], saved_at(3))

    assert steps_of(busy_store) == [1, 2]
    assert busy_store.queue.write(lease, rows_at(3)).checkpoints == (saved_at(2),)


@pytest.mark.parametrize("name", ACTS)
def test_a_write_whose_answer_was_lost_happens_once(
    busy_store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = begun(busy_store)
    lose_one_commit(busy_store, monkeypatch)

    ACTS[name](busy_store, lease)

    expected = {"beat": [1, 2], "rewind": []}.get(name, [1, 2, 9])
    assert steps_of(busy_store) == expected
    assert len(busy_store.trials.get("s", 0).attempts) == 1
    assert busy_store.admin.check() == []


def test_a_claim_whose_answer_was_lost_happens_once(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_one_commit(busy_store, monkeypatch)

    lease = must_claim(busy_store)

    assert (lease.number, lease.attempt) == (0, 1)
    assert busy_store.studies.status("s")[0].trials[TrialState.LEASED] == 1
    assert busy_store.queue.write(lease, rows_at(1)).flush_seq == 1


def test_a_failure_whose_answer_was_lost_counts_once(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = begun(busy_store)
    lose_one_commit(busy_store, monkeypatch)

    state = busy_store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "trace")

    assert state is TrialState.QUEUED


def test_a_write_can_be_sent_again_with_more_rows(busy_store: Store) -> None:
    lease = begun(busy_store)
    busy_store.queue.write(lease, rows_at(3))  # committed, but suppose that the worker never learnt

    lease = busy_store.queue.write(lease, rows_at(3, 4), saved_at(4))

    assert steps_of(busy_store) == [1, 2, 3, 4]
    assert lease.checkpoints == (saved_at(4), saved_at(2))
    assert busy_store.queue.write(lease, rows_at(5)).flush_seq == lease.flush_seq + 1


def test_a_finish_can_be_sent_again(busy_store: Store) -> None:
    lease = begun(busy_store)
    busy_store.queue.finish(lease, rows_at(3), None, result(3))
    before = contents(busy_store)

    busy_store.queue.finish(lease, rows_at(3), None, result(3))

    assert contents(busy_store) == before
