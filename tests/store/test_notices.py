"""Which worker tells an event: one of many, on both databases; and when a study is over."""

import pytest
from scenes import at_once, lose_one_commit, make_study, must_claim, result, rows_at

from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store, notices
from cifarsweep.store.notices import MOST_TRIALS, Watch


def finish_all(store: Store) -> None:
    while (lease := store.queue.claim("w")) is not None:
        store.queue.finish(lease, rows_at(1), None, result(1))


def test_a_study_is_over_once_every_trial_is_final(busy_store: Store) -> None:
    assert busy_store.notices.study_over("s") is None

    finish_all(busy_store)

    over = busy_store.notices.study_over("s")
    assert over is not None and over.trials[TrialState.DONE] == 6


def test_a_study_that_is_extended_or_retried_ends_again(busy_store: Store) -> None:
    """Given a study that is over, when it grows or a trial is trained again, then that end is another event."""
    busy_store.control.cancel("s", 0)
    finish_all(busy_store)
    events = {busy_store.notices.study_over("s").event}

    busy_store.studies.create(make_study(seeds=4), extend=True)
    assert busy_store.notices.study_over("s") is None
    finish_all(busy_store)
    events.add(busy_store.notices.study_over("s").event)
    busy_store.control.retry("s")
    finish_all(busy_store)
    events.add(busy_store.notices.study_over("s").event)

    assert len(events) == 3


def test_a_paused_study_is_not_over_and_one_that_is_not_there_neither(busy_store: Store) -> None:
    busy_store.control.pause("s")

    assert busy_store.notices.study_over("s") is None
    assert busy_store.notices.study_over("gone") is None


def test_of_many_that_ask_at_once_one_is_to_tell(store: Store, url: str) -> None:
    with Store.open(url) as other:
        for event in ("a", "b", "c"):
            told = at_once(*[lambda one=one, event=event: one.notices.claim(event) for one in (store, other) * 2])
            assert sorted(told) == [False, False, False, True]


@pytest.mark.parametrize("happened", [True, False])
def test_a_claim_whose_answer_was_lost_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    lose_one_commit(store, monkeypatch, happened=happened)

    assert store.notices.claim("a") and not store.notices.claim("a")


def test_some_failures_of_a_study_are_told_and_each_once(store: Store) -> None:
    """Given more failures than are told, when each worker asks, then each is told once, up to the limit."""
    store.studies.create(make_study(MOST_TRIALS + 1, 1))
    store.studies.create(make_study(1, 1, name="other"))
    leases = [must_claim(store) for _ in range(MOST_TRIALS + 2)]
    for lease in leases:
        store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "")

    told = [store.notices.claim_trial(lease, "target") for lease in leases for _ in range(2)]

    assert [number for number in told if number is not None] == [*range(1, MOST_TRIALS + 1), 1]
    assert store.notices.claim_trial(leases[0], "other") == 1


def test_who_is_killed_while_telling_is_followed_by_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an event that was claimed and never told, when its time is over, then one of many tells it, once."""
    assert store.notices.claim("a")
    monkeypatch.setattr(notices, "CLAIM_S", 0.0)
    assert store.notices.claim("a")

    store.notices.told("a")

    assert not store.notices.claim("a")


def test_a_watch_ends_once_its_event_was_told_and_not_while_the_study_goes_on(busy_store: Store) -> None:
    mine, theirs = Watch("s", "mine"), Watch("s", "theirs")
    for _ in range(2):
        busy_store.notices.watch([mine, theirs, Watch("gone", "mine")])
    busy_store.notices.claim("e")
    busy_store.notices.told("e")
    busy_store.notices.end_watch(mine, "e")
    assert busy_store.notices.watched(["mine"]) == {mine}

    finish_all(busy_store)
    busy_store.notices.end_watch(mine, "another")
    assert busy_store.notices.watched(["mine", "theirs"]) == {mine, theirs}
    busy_store.notices.end_watch(mine, "e")

    assert busy_store.notices.watched(["mine", "theirs"]) == {theirs}
