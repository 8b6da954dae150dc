"""The end of one trial and the claim of the next, in one transaction."""

import pytest
from scenes import (
    contents,
    expire,
    lose_one_commit,
    make_study,
    must_claim,
    result,
    rows_at,
    saved_at,
    steps_of,
    taken_over,
)
from support.studies import count_open

from cifarsweep.errors import LeaseLost, StoreUnavailable
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import ClaimRequest, Lease


def finished_for_more(store: Store, lease: Lease, want: ClaimRequest) -> Lease:
    following = store.queue.finish(lease, rows_at(9), None, result(9), want)
    assert following is not None
    return following


def test_the_next_trial_comes_with_the_end_of_the_last(busy_store: Store) -> None:
    following = finished_for_more(busy_store, must_claim(busy_store), ClaimRequest("w", ["s"], slot=3))

    assert (following.number, following.attempt, following.flush_seq) == (1, 1, 0)
    assert busy_store.trials.get("s", 0).state is TrialState.DONE
    assert [attempt.worker_id for attempt in busy_store.trials.get("s", 1).attempts] == ["w"]
    assert busy_store.queue.write(following, rows_at(1)).flush_seq == 1
    assert busy_store.admin.check() == []


def test_it_is_one_transaction(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = must_claim(busy_store)
    commits = []
    commit = busy_store._db.engine.dialect.do_commit
    monkeypatch.setattr(busy_store._db.engine.dialect, "do_commit", lambda conn: (commits.append(1), commit(conn)))

    finished_for_more(busy_store, lease, ClaimRequest("w"))

    assert len(commits) == 1


def test_nothing_comes_where_nothing_is_due(store: Store) -> None:
    store.studies.create(make_study(1, 1))
    store.studies.create(make_study(1, 1, name="other"))

    assert store.queue.finish(must_claim(store), [], None, result(), ClaimRequest("w", ["s"])) is None

    assert store.trials.get("s", 0).state is TrialState.DONE
    assert count_open(store) == 1


def test_an_expired_lease_of_another_comes_first(busy_store: Store) -> None:
    mine, dead = must_claim(busy_store, "me"), must_claim(busy_store, "dead")
    busy_store.queue.write(busy_store.queue.write(dead, rows_at(1, 2), saved_at(2)), rows_at(3))
    expire(busy_store, dead)

    following = finished_for_more(busy_store, mine, ClaimRequest("me"))

    assert (following.number, following.attempt, following.step) == (1, 2, 2)
    assert steps_of(busy_store, number=1) == [1, 2]


def test_who_has_lost_its_lease_gets_no_other(busy_store: Store) -> None:
    zombie = must_claim(busy_store)
    taken_over(busy_store, zombie)
    before = contents(busy_store)

    with pytest.raises(LeaseLost):
        busy_store.queue.finish(zombie, [], None, result(), ClaimRequest("w"))

    assert contents(busy_store) == before


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_costs_neither_the_end_nor_the_claim(
    busy_store: Store, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    lease = must_claim(busy_store)
    lose_one_commit(busy_store, monkeypatch, happened=happened)

    following = finished_for_more(busy_store, lease, ClaimRequest("w"))

    assert (following.number, following.attempt) == (1, 1)
    counts = busy_store.studies.status("s")[0].trials
    assert (counts[TrialState.DONE], counts[TrialState.LEASED]) == (1, 1)
    assert busy_store.admin.check() == []


def test_sent_again_it_gets_the_trial_that_it_got(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, want = must_claim(busy_store), ClaimRequest("w")
    with monkeypatch.context() as patched:
        patched.setattr("cifarsweep.store.database._RETRY_AFTER_S", ())
        lose_one_commit(busy_store, patched, happened=True)
        with pytest.raises(StoreUnavailable):
            busy_store.queue.finish(lease, rows_at(9), None, result(9), want)

    following = finished_for_more(busy_store, lease, want)

    assert following.number == 1
    assert finished_for_more(busy_store, lease, want) == following
    assert must_claim(busy_store).number == 2


def test_sent_again_too_late_it_gets_another_trial(busy_store: Store) -> None:
    lease, want = must_claim(busy_store), ClaimRequest("w")
    taken_over(busy_store, finished_for_more(busy_store, lease, want))

    following = finished_for_more(busy_store, lease, want)

    assert following.number == 2
    assert [attempt.end for attempt in busy_store.trials.get("s", 1).attempts] == [AttemptEnd.TAKEN_OVER, None]
