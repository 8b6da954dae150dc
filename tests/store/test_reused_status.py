"""What the store tells of trials that took steps over from others."""

from dataclasses import replace
from typing import Any

import pytest
from scenes import make_study, must_claim, rows_at, set_trial
from sqlalchemy import update

from cifarsweep.spec.provenance import Source
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.schema import attempt
from cifarsweep.store.status_records import WorkerStatus

STEPS, SECONDS = 10, 4.0


def train(store: Store, worker: str, device: str, steps: int = STEPS) -> int:
    """Train the next trial on such a device; its id."""
    store.queue.register_worker(WorkerInfo(worker, f"host of {worker}", 1, device, 1, {"torch": "2.15"}))
    lease = must_claim(store, worker)
    rows = [*rows_at(steps), MetricRow("elapsed_s", steps, SECONDS)]
    store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, steps, {}, "a" * 64))
    return lease.trial_id


def took(store: Store, trial_id: int, source_id: int, steps: int = STEPS, **more: Any) -> None:
    set_trial(store, trial_id, source_id=source_id, reused_steps=steps, reused_s=SECONDS * steps / STEPS, **more)


def went_on_from(store: Store, trial_id: int, step: int) -> None:
    """The attempt of the trial began at that step."""
    change = update(attempt).where(attempt.c.trial_id == trial_id).values(first_step=step)
    store._db.write(lambda conn: conn.execute(change))


@pytest.fixture
def trained(store: Store) -> Store:
    """Trials 0, 1 and 2 are done, each by its own worker, and a fourth one waits."""
    store.studies.create(make_study(2, 2))
    for worker, device in (("first", "H200"), ("second", "A100"), ("third", "cpu")):
        train(store, worker, device)
    return store


def test_a_trial_that_trained_all_of_its_steps_says_nothing_of_others(trained: Store) -> None:
    row = trained.trials.get("s", 0)

    assert (row.source, row.reused_steps, row.reused_s, row.reused_text) == ("", 0, 0.0, "")
    assert [each.host for each in row.trained_by] == ["host of first"]


def test_the_attempts_of_the_source_trained_what_was_reused(trained: Store) -> None:
    took(trained, 2, source_id=1)

    row = trained.trials.get("s", 1)

    assert (row.source, row.reused_steps, row.reused_s, row.reused_text) == ("s/0", STEPS, SECONDS, "reused from s/0")
    assert [(each.host, each.device) for each in row.trained_by] == [("host of first", "H200")]
    assert [each.host for each in row.attempts] == ["host of second"] and row.changed == {}


def test_a_branch_was_trained_by_its_source_and_by_itself(trained: Store) -> None:
    took(trained, 2, source_id=1, steps=4)
    went_on_from(trained, 2, step=4)

    row = trained.trials.get("s", 1)

    assert row.reused_text == "first 4 steps from s/0"
    assert [each.device for each in row.trained_by] == ["H200", "A100"]
    assert row.changed == {"device": ("H200", "A100")}


def test_what_was_reused_is_told_through_every_trial_that_it_went_through(trained: Store) -> None:
    took(trained, 1, source_id=2, steps=4)
    went_on_from(trained, 1, step=4)
    took(trained, 3, source_id=1)

    row = trained.trials.get("s", 2)

    assert row.reuse is not None and row.reuse.sources == (Source("s/0", STEPS), Source("s/1", 4))
    assert [each.host for each in row.trained_by] == ["host of second", "host of first"]
    assert trained.trials.all("s")[2] == row


def test_attempts_of_the_source_after_the_branch_do_not_count(trained: Store) -> None:
    took(trained, 2, source_id=1, steps=4)
    went_on_from(trained, 2, step=4)
    went_on_from(trained, 1, step=5)

    assert [each.host for each in trained.trials.get("s", 1).trained_by] == ["host of second"]


def test_a_source_may_be_of_another_study_or_gone(trained: Store) -> None:
    trained.studies.create(make_study(1, 1, name="later"))
    took(trained, 5, source_id=1, step=STEPS)
    assert trained.trials.get("later", 0).reused_text == "first 10 steps from s/0"  # it is not done
    took(trained, 5, source_id=99)
    assert trained.trials.get("later", 0).source == "a trial that is gone"


def test_a_trial_that_waits_names_the_one_that_it_waits_for(trained: Store) -> None:
    set_trial(trained, 4, source_id=1, waits=True)
    waiting = trained.trials.get("s", 3)
    set_trial(trained, 4, waits=False)
    due = trained.trials.get("s", 3)

    assert (waiting.waits_for, waiting.source, due.waits_for) == ("s/0", "", "")


def test_trials_that_name_each_other_can_be_read(trained: Store) -> None:
    took(trained, 1, source_id=2)
    took(trained, 2, source_id=1)

    assert [row.source for row in trained.trials.all("s")] == ["s/1", "s/0", "", ""]


def test_the_status_counts_a_step_once(trained: Store) -> None:
    took(trained, 2, source_id=1)
    took(trained, 3, source_id=1, steps=5)
    must_claim(trained, "first")

    (status,) = trained.studies.status("s")

    assert (status.trials[TrialState.DONE], status.reused) == (3, 1)
    assert (status.done_s, status.reused_s) == (SECONDS * 1.5, SECONDS * 1.5)
    # A trial takes four seconds; three of them were done in six.
    assert (status.trial_s, status.trials_per_h) == (SECONDS, 1800.0)


def test_what_waits_for_steps_of_others_is_not_left(trained: Store) -> None:
    """Of four queued trials one takes all steps, and one half of them; a third waits for a trial that has failed."""
    trained.studies.create(make_study(1, 5, name="later"))
    set_trial(trained, 5, state="failed")
    for trial_id, source_id, branch_step in ((6, 1, None), (7, 1, STEPS // 2), (8, 5, None)):
        set_trial(trained, trial_id, source_id=source_id, branch_step=branch_step, waits=True)

    (status,) = trained.studies.status("later")
    assert (status.waiting_twins, status.waiting_branches, status.waiting_steps) == (1, 1, STEPS // 2)
    assert status.left_s is None  # nothing is done

    trials = {**status.trials, TrialState.DONE: 2}
    worker = WorkerStatus("w", "", "", 0, 1, 0, 0.0, expired=False, elapsed_s=1.0)
    known = replace(status, trials=trials, done_s=8.0, done_steps=2 * STEPS, workers=(worker,))
    # A trial takes four seconds. Two are whole, one is half, and of one three seconds are left.
    assert known.left_s == 2 * 4.0 + 2.0 + 3.0
    assert replace(known, workers=(worker, worker)).left_s == (2 * 4.0 + 2.0 + 2 * 3.0) / 2


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"reused_steps": 3}, "trial s/1: took over 3 steps, but cs_trial.source_id names no trial"),
        ({"source_id": 99}, "trial s/1: cs_trial.source_id is 99, which is no trial"),
        ({"source_id": 1, "reused_steps": 11}, "trial s/1: took over 11 steps, but has 10"),
        ({"source_id": 1, "reused_steps": 9, "reused_s": 4.5}, "trial s/1: took over 4.5 s of training, but has 4 s"),
        ({"source_id": 1, "reused_steps": 11, "step": 12}, "trial s/1: took over 11 steps of a trial that has 10"),
        ({"source_id": 1, "reused_steps": 10, "reused_s": 4.0}, None),
        ({"source_id": 1}, None),
    ],
)
def test_what_a_trial_cannot_have_taken_over_is_found(
    trained: Store, columns: dict[str, Any], sentence: str | None
) -> None:
    set_trial(trained, 2, **columns)

    findings = [found for found in trained.admin.check() if "s/1" in found]

    assert (findings == []) if sentence is None else findings[0].startswith(sentence)
