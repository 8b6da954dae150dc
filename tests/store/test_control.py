"""Pause, resume, cancel, retry, priority: at once where nobody holds the trial, else with its holder's next beat."""

from collections.abc import Callable

import optuna
import pytest
from scenes import (
    contents,
    expire,
    make_due,
    make_study,
    must_claim,
    next_due,
    result,
    rows_at,
    saved_at,
    set_trial,
    steps_of,
)

from cifarsweep.errors import LeaseLost, StoreError, UnknownStudy
from cifarsweep.spec.types import AttemptEnd, StopRequest, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import ControlResult, Lease
from cifarsweep.store.url import parse_url

QUEUED, LEASED, PAUSED, CANCELLED = TrialState.QUEUED, TrialState.LEASED, TrialState.PAUSED, TrialState.CANCELLED
DONE, FAILED, POISONED = TrialState.DONE, TrialState.FAILED, TrialState.POISONED


def states(store: Store) -> list[TrialState]:
    return [row.state for row in store.trials.all("s")]


def begun(store: Store) -> Lease:
    """A worker at trial 0, with a checkpoint at step 2."""
    return store.queue.write(must_claim(store), rows_at(1, 2), saved_at(2))


def crashed(store: Store, worker: str) -> tuple[int, int]:
    """The worker's child dies in the next trial, which is due again at once: its id and attempt."""
    lease = must_claim(store, worker)
    store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
    make_due(store, lease)
    return lease.trial_id, lease.attempt


def failed(store: Store, end: AttemptEnd = AttemptEnd.EXCEPTION) -> int:
    """Let trial 0 fail for good, with a checkpoint at step 2; its attempts."""
    lease = begun(store)
    while store.queue.fail(lease, end, "boom", "") is QUEUED:
        make_due(store, lease)
        lease = must_claim(store)
    return lease.attempt


def test_a_paused_study_gives_nothing_away_until_it_is_resumed(busy_store: Store) -> None:
    assert busy_store.control.pause("s") == ControlResult(6, 0)
    assert busy_store.queue.claim("w") is None and next_due(busy_store) is None
    assert not busy_store.queue.has_unfinished()

    assert busy_store.control.resume("s") == ControlResult(6, 0)

    assert must_claim(busy_store).number == 0


@pytest.mark.parametrize("stop_request", list(StopRequest))
def test_the_holder_learns_of_a_wish_with_its_next_beat_and_then_it_comes_true(
    busy_store: Store, stop_request: StopRequest
) -> None:
    lease = begun(busy_store)
    act = busy_store.control.pause if stop_request is StopRequest.PAUSE else busy_store.control.cancel

    assert act("s", 0) == ControlResult(0, 1)
    assert states(busy_store)[0] is LEASED
    lease = busy_store.queue.write(lease, [])
    assert lease.stop_request is stop_request
    busy_store.queue.release(lease, rows_at(3), saved_at(3))

    row = busy_store.trials.get("s", 0)
    assert row.state is stop_request.state
    assert row.attempts[0].end is (AttemptEnd.RELEASED if stop_request is StopRequest.PAUSE else AttemptEnd.CANCELLED)
    assert busy_store.admin.check() == []


def test_whoever_resumes_goes_on_from_the_checkpoint(busy_store: Store) -> None:
    lease = begun(busy_store)
    busy_store.control.pause("s", 0)
    busy_store.queue.release(busy_store.queue.write(lease, rows_at(3)), [], None)

    busy_store.control.resume("s", 0)

    again = must_claim(busy_store)
    assert (again.number, again.attempt, again.step, again.stop_request) == (0, 2, 2, None)
    assert steps_of(busy_store) == [1, 2]


def test_a_wish_can_be_taken_back_before_the_holder_noticed(busy_store: Store) -> None:
    lease = begun(busy_store)
    busy_store.control.pause("s", 0)

    assert busy_store.control.resume("s", 0) == ControlResult(0, 1)

    assert busy_store.queue.write(lease, []).stop_request is None


def test_a_trial_that_ends_before_its_holder_noticed_is_done(busy_store: Store) -> None:
    lease = begun(busy_store)
    busy_store.control.cancel("s")

    busy_store.queue.finish(lease, rows_at(3), None, result(3))

    assert states(busy_store) == [DONE] + [CANCELLED] * 5
    assert busy_store.admin.check() == []


@pytest.mark.parametrize("stop_request", list(StopRequest))
def test_a_wish_outlives_a_failure_of_the_attempt(busy_store: Store, stop_request: StopRequest) -> None:
    lease = begun(busy_store)
    (busy_store.control.pause if stop_request is StopRequest.PAUSE else busy_store.control.cancel)("s", 0)

    assert busy_store.queue.fail(lease, AttemptEnd.CRASHED, "boom", "") is stop_request.state


@pytest.mark.parametrize("stop_request", list(StopRequest))
def test_who_takes_over_from_a_holder_that_died_fulfils_the_wish(busy_store: Store, stop_request: StopRequest) -> None:
    lease = begun(busy_store)
    (busy_store.control.pause if stop_request is StopRequest.PAUSE else busy_store.control.cancel)("s", 0)
    expire(busy_store, lease)

    assert must_claim(busy_store, "other").number == 1

    row = busy_store.trials.get("s", 0)
    assert (row.state, row.attempts[0].end) == (stop_request.state, AttemptEnd.TAKEN_OVER)
    with pytest.raises(LeaseLost):
        busy_store.queue.write(lease, rows_at(3))


@pytest.mark.parametrize("stop_request", list(StopRequest))
def test_a_lease_that_ran_out_needs_no_holder(busy_store: Store, stop_request: StopRequest) -> None:
    lease = begun(busy_store)
    expire(busy_store, lease)

    assert (busy_store.control.pause if stop_request is StopRequest.PAUSE else busy_store.control.cancel)(
        "s"
    ) == ControlResult(6, 0)

    assert set(states(busy_store)) == {stop_request.state}
    with pytest.raises(LeaseLost):
        busy_store.queue.write(lease, rows_at(3))
    assert busy_store.admin.check() == []


ACTS: dict[str, Callable[[Store], ControlResult]] = {
    "pause": lambda store: store.control.pause("s"),
    "resume": lambda store: store.control.resume("s"),
    "cancel": lambda store: store.control.cancel("s"),
    "retry": lambda store: store.control.retry("s"),
    "priority": lambda store: store.control.prioritize("s", priority=7),
}


@pytest.mark.parametrize("name", ACTS)
def test_the_second_time_changes_nothing(busy_store: Store, name: str) -> None:
    failed(busy_store)
    must_claim(busy_store)
    if name == "resume":
        busy_store.control.pause("s")
    first = ACTS[name](busy_store)
    before = contents(busy_store)

    assert first.applied + first.pending > 0
    assert ACTS[name](busy_store) == ControlResult(0, 0)
    assert contents(busy_store) == before


@pytest.mark.parametrize("act", ["pause", "resume", "cancel", "retry"])
def test_a_trial_that_is_done_stays_so(busy_store: Store, act: str) -> None:
    busy_store.queue.finish(must_claim(busy_store), [], None, result())
    before = contents(busy_store)

    with pytest.raises(StoreError, match="trial s/0 is done, which is final; it stays as it is"):
        getattr(busy_store.control, act)("s", 0)
    with pytest.raises(StoreError, match="study 's' has no trial 6; its trials are 0 to 5"):
        getattr(busy_store.control, act)("s", 6)
    with pytest.raises(UnknownStudy):
        getattr(busy_store.control, act)("t")

    assert contents(busy_store) == before


def test_a_failed_trial_is_not_paused_but_told_how_it_goes_on(busy_store: Store) -> None:
    failed(busy_store)

    with pytest.raises(StoreError, match="trial s/0 is failed, which is final; `cifarsweep retry s/0` queues it again"):
        busy_store.control.pause("s", 0)


@pytest.mark.parametrize("end", [AttemptEnd.EXCEPTION, AttemptEnd.OUT_OF_MEMORY, AttemptEnd.CRASHED])
def test_a_retry_forgets_the_failures_and_goes_on_from_the_checkpoint(busy_store: Store, end: AttemptEnd) -> None:
    attempts = failed(busy_store, end)
    assert states(busy_store)[0] in (FAILED, POISONED)

    assert busy_store.control.retry("s") == ControlResult(1, 0)

    lease = must_claim(busy_store)
    assert (lease.number, lease.attempt, lease.step) == (0, attempts + 1, 2)
    assert busy_store.queue.fail(lease, end, "boom", "") is QUEUED


def test_a_cancelled_trial_comes_back_by_a_retry(busy_store: Store) -> None:
    held = begun(busy_store)
    busy_store.control.cancel("s")

    assert busy_store.control.retry("s") == ControlResult(5, 1)

    assert states(busy_store) == [LEASED] + [QUEUED] * 5
    assert busy_store.queue.write(held, []).stop_request is None


def test_of_the_two_wishes_the_one_to_cancel_holds(busy_store: Store) -> None:
    lease = begun(busy_store)
    busy_store.control.pause("s")
    assert busy_store.control.cancel("s") == ControlResult(5, 1)

    assert busy_store.control.pause("s") == busy_store.control.resume("s") == ControlResult(0, 0)

    assert busy_store.queue.write(lease, []).stop_request is StopRequest.CANCEL


def test_higher_priorities_are_claimed_first(busy_store: Store) -> None:
    assert busy_store.control.prioritize("s", 3, priority=5) == ControlResult(1, 0)
    assert busy_store.control.prioritize("s", 0, priority=-1) == ControlResult(1, 0)

    assert [must_claim(busy_store).number for _ in range(6)] == [3, 1, 2, 4, 5, 0]


def test_the_priority_of_a_study_is_that_of_trials_to_come(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 1, name="t"))
    busy_store.control.prioritize("t", priority=1)
    busy_store.studies.create(make_study(1, 2, name="t"), extend=True)

    assert [must_claim(busy_store).study for _ in range(3)] == ["t", "t", "s"]


@pytest.mark.parametrize("act", ["pause", "cancel"])
def test_trials_that_come_to_a_paused_study_wait_and_to_a_cancelled_one_revive_it(store: Store, act: str) -> None:
    store.studies.create(make_study(1, 1))
    getattr(store.control, act)("s")

    store.studies.create(make_study(1, 2), extend=True)

    assert states(store) == ([PAUSED, PAUSED] if act == "pause" else [CANCELLED, QUEUED])


def test_what_is_retried_in_a_paused_study_waits_too(busy_store: Store) -> None:
    failed(busy_store)
    busy_store.control.pause("s")

    busy_store.control.retry("s", 0)

    assert set(states(busy_store)) == {PAUSED}


def test_optuna_forgets_a_failure_that_is_retried(busy_store: Store, url: str) -> None:
    failed(busy_store)
    busy_store.queue.finish(must_claim(busy_store), [], None, result())
    busy_store.control.cancel("s", 2)
    assert busy_store.sync_optuna() == 3

    busy_store.control.retry("s")
    assert busy_store.admin.check() == [] and busy_store.unsynced() > 0
    busy_store.sync_optuna()

    assert optuna_trials(url) == {1: "COMPLETE"}
    busy_store.queue.finish(must_claim(busy_store), [], None, result())
    busy_store.sync_optuna()
    assert optuna_trials(url) == {0: "COMPLETE", 1: "COMPLETE"}
    assert busy_store.admin.check() == [] and busy_store.unsynced() == 0


def optuna_trials(url: str) -> dict[int, str]:
    storage = optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))
    trials = optuna.load_study(study_name="s", storage=storage).trials
    storage.scoped_session.remove()
    storage.engine.dispose()
    return {trial.user_attrs["cifarsweep_trial"]: trial.state.name for trial in trials}


def test_a_retry_while_optuna_is_being_told_of_the_failure_is_not_lost(
    busy_store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(busy_store)
    told = optuna.Study.add_trial

    def told_and_then_retried(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        told(study, trial)
        busy_store.control.retry("s")

    monkeypatch.setattr(optuna.Study, "add_trial", told_and_then_retried)
    assert busy_store.sync_optuna() == 0
    monkeypatch.undo()
    busy_store.queue.finish(must_claim(busy_store), [], None, result())

    assert busy_store.sync_optuna() == 1
    assert optuna_trials(url) == {0: "COMPLETE"}


def test_a_machine_takes_its_own_crashes_back_and_nobody_elses(busy_store: Store) -> None:
    crashes = [crashed(busy_store, "bad") for _ in range(4)]
    crashed(busy_store, "good")
    busy_store.sync_optuna()
    assert states(busy_store)[0] is POISONED

    taken_back = [
        busy_store.queue.retract_crashes("good", crashes),
        busy_store.queue.retract_crashes("bad", crashes),
        busy_store.queue.retract_crashes("bad", crashes),
    ]

    assert taken_back == [0, 4, 0]
    assert [attempt.end for attempt in busy_store.trials.get("s", 0).attempts] == [
        *[AttemptEnd.BAD_MACHINE] * 4,
        AttemptEnd.CRASHED,
    ]
    assert busy_store.queue.fail(must_claim(busy_store, "good"), AttemptEnd.CRASHED, "died", "") is QUEUED
    assert busy_store.admin.check() == []


def test_a_trial_that_crashed_on_two_other_machines_stays_poisoned(busy_store: Store) -> None:
    crashes = [crashed(busy_store, "bad")]
    lease = must_claim(busy_store, "good")
    busy_store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
    set_trial(busy_store, lease.trial_id, state=QUEUED.value, not_before=None)
    crashed(busy_store, "another")

    busy_store.queue.retract_crashes("bad", crashes)

    assert states(busy_store)[0] is POISONED


def test_what_was_cancelled_meanwhile_stays_so_when_a_machine_takes_the_blame(busy_store: Store) -> None:
    crashes = [crashed(busy_store, "bad") for _ in range(5)]
    busy_store.control.cancel("s")

    assert busy_store.queue.retract_crashes("bad", crashes) == 5

    assert states(busy_store)[0] is CANCELLED
    assert not busy_store.queue.has_unfinished()


def test_a_checkpoint_since_then_leaves_nothing_to_forgive(busy_store: Store) -> None:
    lease = must_claim(busy_store, "bad")
    busy_store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
    make_due(busy_store, lease)
    successor = busy_store.queue.write(must_claim(busy_store, "good"), rows_at(1), saved_at(1))

    assert busy_store.queue.retract_crashes("bad", [(lease.trial_id, lease.attempt)]) == 1

    assert busy_store.queue.write(successor, rows_at(2)).attempt == 2


def test_a_trial_that_took_another_workers_child_down_is_no_evidence_against_a_machine(busy_store: Store) -> None:
    crashed(busy_store, "other")
    crashes = [crashed(busy_store, "me")]
    set_trial(busy_store, crashes[0][0], state=DONE.value)
    crashes.append(crashed(busy_store, "me"))

    assert busy_store.queue.crashes_only_on("me", crashes) == crashes[1:]
    assert busy_store.queue.crashes_only_on("other", crashes) == []


def test_a_dead_holder_counts_also_where_the_trial_is_paused(busy_store: Store) -> None:
    expire(busy_store, begun(busy_store))

    busy_store.control.pause("s", 0)
    busy_store.control.resume("s", 0)

    assert must_claim(busy_store).takeovers == 1
