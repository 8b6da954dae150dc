"""A worker goes from one trial to the next in one transaction; real children, a real database."""

import os
import signal

import pytest
from support.worker import work

from cifarsweep.errors import StoreUnavailable
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store


def ends(store: Store) -> list[AttemptEnd | None]:
    return [attempt.end for trial in store.trials.all("demo") for attempt in trial.attempts]


def test_claims_of_their_own_are_rare(store, tmp_path, monkeypatch):
    claims = []
    claim = store.queue.claim
    monkeypatch.setattr(store.queue, "claim", lambda *args, **kwargs: claims.append(1) or claim(*args, **kwargs))
    monkeypatch.setattr("cifarsweep.worker.claims._STUDIES_LAST_S", 3600.0)

    assert work(store, tmp_path, max_trials=12) == 0

    assert ends(store) == [AttemptEnd.DONE] * 12
    assert len(claims) == 1


@pytest.mark.parametrize("slots", [1, 3])
def test_it_takes_no_more_than_it_may(store, tmp_path, slots):
    assert work(store, tmp_path, slots=slots, max_trials=5) == 0

    assert ends(store) == [AttemptEnd.DONE] * 5


def answer_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch, also=lambda: None) -> None:
    """The first end of a trial is committed, but its worker learns it only later."""
    finish, lost = store.queue.finish, []

    def finish_unheard(*args):
        granted = finish(*args)
        if not lost:
            lost.append(granted)
            also()
            raise StoreUnavailable("the connection is gone")
        return granted

    monkeypatch.setattr(store.queue, "finish", finish_unheard)


def test_an_end_that_waits_for_the_database_counts_for_its_next_trial(store, tmp_path, monkeypatch):
    answer_is_lost(store, monkeypatch)

    assert work(store, tmp_path, max_trials=3) == 0

    assert ends(store) == [AttemptEnd.DONE] * 3


def test_a_trial_that_comes_when_the_worker_is_leaving_is_given_back(store, tmp_path, monkeypatch):
    answer_is_lost(store, monkeypatch, also=lambda: os.kill(os.getpid(), signal.SIGINT))

    assert work(store, tmp_path) == 130

    assert ends(store) == [AttemptEnd.DONE, AttemptEnd.RELEASED]
    assert store.studies.status("demo")[0].trials[TrialState.QUEUED] == 11
