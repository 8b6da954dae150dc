"""Trials of one identity: one is trained, the others wait for it and take its rows and its result over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from scenes import (
    at_once,
    contents,
    expire,
    lose_one_commit,
    make_study,
    result,
    rows_at,
    saved_at,
    set_trial,
    steps_of,
)
from sqlalchemy import text
from support.studies import count_open

from cifarsweep.errors import LeaseLost, StoreUnavailable
from cifarsweep.spec.types import AttemptEnd, Hits, MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.digests import RowsDigest
from cifarsweep.store.queue.claim import MANY_TAKEOVERS
from cifarsweep.store.queue.twins import SourceChanged
from cifarsweep.store.records import ClaimRequest, FinishedRun, Identify, Lease
from cifarsweep.store.trial_records import TrialRow

ROWS = [
    MetricRow("train/loss", 1, 0.5),
    MetricRow("train/loss", 2, math.nan),
    MetricRow("train/grad", 2, -0.0),
    MetricRow("elapsed_s", 2, 7.5),
]
RESULT = replace(result(2, 0.75), hits={"val/accuracy": Hits(8, "/w==")})


def identity(lease: Lease, steps: int | None, around: str = "CPU") -> str:
    """What tells the trials of these tests apart: cell, seed and where they are trained."""
    return f"{lease.cell} {lease.seed} {around} {steps}"


def wanting(worker: str, *studies: str, identify: Identify | None = identity) -> ClaimRequest:
    return ClaimRequest(worker, studies or None, identify=identify)


def claimed(store: Store, worker: str, *studies: str, identify: Identify | None = identity) -> Lease | None:
    return store.queue.claim(worker, studies=studies or None, identify=identify)


def must(store: Store, worker: str, *studies: str, identify: Identify | None = identity) -> Lease:
    lease = claimed(store, worker, *studies, identify=identify)
    assert lease is not None
    return lease


def trained(store: Store, lease: Lease, outcome: TrialResult = RESULT) -> Lease | None:
    """End a trial as one that trained all of it, half of it before."""
    return store.queue.finish(store.queue.write(lease, ROWS[:1]), ROWS[1:], None, outcome)


def digest_of(rows: list[MetricRow]) -> RowsDigest:
    digest = RowsDigest()
    digest.add(rows)
    return digest


@pytest.fixture
def two(store: Store) -> Store:
    """The studies `one` and `two` of the same trial."""
    store.studies.create(make_study(1, 1, name="one"))
    store.studies.create(make_study(1, 1, name="two"))
    return store


def edit(store: Store, statement: str) -> None:
    store._db.write(lambda conn: conn.execute(text(statement)))


def compared(row: TrialRow) -> tuple[Any, ...]:
    return row.state, row.outcome, row.value, row.final, row.step, row.elapsed_s, row.weights_sha256


def metrics(store: Store, study: str) -> list[Any]:
    series = store.metrics.read(study, store.metrics.names(study))
    return [(name, s.tolist(), [value.hex() for value in v.tolist()]) for (_, name), (s, v) in series.items()]


def test_a_trial_takes_the_rows_and_the_result_of_one_that_is_done(two: Store) -> None:
    # given
    trained(two, must(two, "w", "one"))

    # when
    lease = must(two, "v")
    assert lease.twin is not None and lease.twin.name == "one/0"
    assert two.queue.reuse(lease) is None

    # then
    one, other = two.trials.get("one", 0), two.trials.get("two", 0)
    assert compared(one) == compared(other) and other.state is TrialState.DONE
    assert metrics(two, "one") == metrics(two, "two") != []
    assert two.metrics.hits("two", ["val/accuracy"], [0]) == two.metrics.hits("one", ["val/accuracy"], [0]) != {}
    assert (other.source, other.reused_steps, other.reused_s) == ("one/0", 2, 7.5)
    assert (one.source, one.reused_steps, one.reused_s) == ("", 0, 0.0)
    assert [attempt.end for attempt in other.attempts] == [AttemptEnd.DONE]
    assert two.admin.check() == []


@pytest.mark.parametrize("how", ["at once", "in two attempts", "with the digest of its rows"])
def test_every_way_to_the_end_makes_a_source(two: Store, how: str) -> None:
    lease = must(two, "w", "one")
    match how:
        case "at once":
            two.queue.finish(lease, ROWS, None, RESULT)
        case "in two attempts":
            two.queue.release(lease, ROWS[:1], saved_at(1))
            two.queue.finish(must(two, "w", "one"), ROWS[1:], None, RESULT)
        case _:
            lease = two.queue.write(lease, ROWS[:2])
            two.queue.finish(lease, ROWS[2:], None, RESULT, written=digest_of(ROWS[::-1]))

    lease = must(two, "w", "two")
    two.queue.reuse(lease)

    assert compared(two.trials.get("one", 0)) == compared(two.trials.get("two", 0))


def test_the_next_trial_comes_with_what_is_taken_over(two: Store) -> None:
    two.studies.create(make_study(1, 3, name="three"))
    trained(two, must(two, "w", "one"))

    following = two.queue.reuse(must(two, "v", "two"), wanting("v", "three"))

    assert following is not None and (following.study, following.twin and following.twin.name) == ("three", "one/0")
    following = two.queue.reuse(following, wanting("v", "three"))
    assert following is not None and (following.number, following.twin) == (1, None)
    assert two.trials.get("three", 0).source == "one/0"


def test_one_that_is_trained_is_waited_for_and_others_are_taken_meanwhile(two: Store) -> None:
    # given
    two.studies.create(make_study(2, 1, name="three"))
    running = must(two, "w", "one")

    # when
    other = must(two, "v")
    assert (other.study, other.number, other.attempt) == ("three", 1, 1)
    assert claimed(two, "v") is None

    # then
    waiting = two.trials.get("two", 0)
    assert (waiting.state, waiting.attempts) == (TrialState.QUEUED, ())
    assert count_open(two) == 4
    trained(two, running)
    for study in ("two", "three"):
        lease = must(two, "v")
        assert (lease.study, lease.attempt, lease.twin and lease.twin.name) == (study, 1, "one/0")
        two.queue.reuse(lease)
    assert two.admin.check() == []


def test_the_end_of_the_source_may_bring_those_that_wait(two: Store) -> None:
    running = must(two, "w", "one")
    assert claimed(two, "v", "two") is None

    following = two.queue.finish(running, ROWS, None, RESULT, wanting("w"))

    assert following is not None and following.twin is not None and following.study == "two"


def test_the_end_of_another_trial_leaves_one_that_has_to_wait(two: Store) -> None:
    two.studies.create(make_study(2, 1, name="zero"))
    must(two, "v", "one")
    other = must(two, "w", "zero")

    following = two.queue.finish(other, ROWS, None, RESULT, wanting("w", "two", "zero"))

    assert following is None and (other.number, two.trials.get("zero", 1).state) == (1, TrialState.DONE)
    assert two.trials.get("two", 0).attempts == two.trials.get("zero", 0).attempts == ()
    assert two.admin.check() == []


def test_a_source_whose_worker_vanished_is_waited_for_no_longer(two: Store) -> None:
    running = must(two, "w", "one")
    assert claimed(two, "v", "two") is None
    expire(two, running)

    lease = must(two, "v", "two")

    assert lease.twin is None
    # It is the other way round now.
    assert claimed(two, "u") is None
    assert two.trials.get("one", 0).state is TrialState.QUEUED


@pytest.mark.parametrize("end", ["pause", "cancel", "fail", "release"])
def test_a_source_that_ends_otherwise_frees_those_that_wait(two: Store, end: str) -> None:
    running = must(two, "w", "one")
    assert claimed(two, "v", "two") is None
    match end:
        case "pause":
            two.control.pause("one")
            two.queue.release(running, [], None)
        case "cancel":
            two.control.cancel("one")
            two.queue.release(running, [], None)
        case "fail":
            two.queue.fail(running, AttemptEnd.EXCEPTION, "boom", "")
        case _:
            two.queue.release(running, [], None)

    # A worker that serves no source does not wait for it, and one that does takes the source where it may.
    lease = must(two, "v", "two")

    assert lease.twin is None and two.queue.write(lease, ROWS).flush_seq == 1


def test_a_source_that_its_worker_gave_back_comes_before_those_that_wait(two: Store) -> None:
    running = must(two, "w", "one")
    assert claimed(two, "v", "two") is None
    two.queue.release(running, [], None)

    assert must(two, "v").study == "one"
    assert claimed(two, "v") is None


def test_whom_people_put_first_waits_for_nobody_behind(two: Store) -> None:
    running = must(two, "w", "one")
    assert claimed(two, "v", "two") is None
    two.queue.release(running, [], None)
    two.control.prioritize("two", priority=1)

    assert must(two, "v").study == "two"


@pytest.mark.parametrize("branch_step", [None, 2])
def test_a_source_with_which_workers_vanish_is_waited_for_by_nobody(two: Store, branch_step: int | None) -> None:
    """It may be what ends them, and would take each worker that comes before the others were trained."""
    expire(two, must(two, "w", "one"))
    set_trial(two, 1, takeovers=MANY_TAKEOVERS)
    set_trial(two, 2, source_id=1, branch_step=branch_step, waits=True)

    assert must(two, "v").study == "two"


def test_a_source_that_nobody_can_read_is_waited_for_by_nobody(two: Store) -> None:
    running = must(two, "w", "one")
    assert claimed(two, "v", "two") is None
    two.queue.release(running, [], None)
    edit(two, "UPDATE cs_trial SET outcome = 'odd' WHERE study_id = 1")

    assert must(two, "v").study == "two"
    assert any("study 'one'" in sentence for sentence in two.queue.skipped)


def another_environment(lease: Lease, steps: int | None) -> str:
    return identity(lease, steps, "GPU")


def no_identity(lease: Lease, steps: int | None) -> None:
    """As of a training that promises no bits."""


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("first", [identity, another_environment, no_identity, None])
@pytest.mark.parametrize("second", [identity, no_identity, None])
def test_only_the_same_identity_is_reused(
    two: Store, first: Identify | None, second: Identify | None, running: bool
) -> None:
    source = must(two, "w", "one", identify=first)
    if not running:
        trained(two, source)

    lease = claimed(two, "v", "two", identify=second)

    alike = first is second is identity
    assert (lease is None) == (alike and running)
    assert lease is None or (lease.twin is not None) == alike


def pruned(store: Store) -> None:
    trained(store, must(store, "w", "one"), TrialResult(Outcome.PRUNED, 2, {}, ""))


def cancelled(store: Store) -> None:
    lease = must(store, "w", "one")
    store.control.cancel("one")
    store.queue.release(lease, ROWS, None)


def mixed(store: Store) -> None:
    """Its second attempt was of another identity than the first, on whose checkpoint it rests."""
    lease = must(store, "w", "one", identify=another_environment)
    store.queue.release(lease, ROWS[:1], saved_at(1))
    trained_on = must(store, "w", "one")
    store.queue.finish(trained_on, ROWS[1:], None, RESULT)


@pytest.mark.parametrize("end", [pruned, cancelled, mixed])
def test_what_others_must_not_take_over_is_trained(two: Store, end: Callable[[Store], None]) -> None:
    end(two)

    lease = must(two, "v", "two")

    assert lease.twin is None


def test_an_imported_trial_is_no_source(store: Store) -> None:
    imported = make_study(1, 1, name="one")
    store.studies.add_finished(imported, [FinishedRun(imported.cells[0].name, 0, tuple(ROWS))])
    store.studies.create(make_study(1, 1, name="two"))

    assert must(store, "v", "two").twin is None


def test_a_trial_that_diverged_is_taken_over_as_diverged(two: Store) -> None:
    trained(two, must(two, "w", "one"), TrialResult(Outcome.DIVERGED, 2, {"val/accuracy": 0.1, "x": math.inf}, ""))

    two.queue.reuse(must(two, "v", "two"))

    one, other = two.trials.get("one", 0), two.trials.get("two", 0)
    assert other.outcome is Outcome.DIVERGED and compared(one) == compared(other)


def test_a_trial_with_a_checkpoint_of_its_own_goes_on(two: Store) -> None:
    lease = must(two, "w", "two", identify=None)
    two.queue.release(lease, ROWS[:1], saved_at(1))
    trained(two, must(two, "w", "one"))

    lease = must(two, "v", "two")

    assert (lease.step, lease.twin) == (1, None)


def test_the_one_that_took_least_from_others_is_the_source(two: Store) -> None:
    two.studies.create(make_study(1, 1, name="three"))
    trained(two, must(two, "w", "two"))
    two.queue.reuse(must(two, "v", "one"))

    lease = must(two, "v", "three")

    assert lease.twin is not None and lease.twin.name == "two/0"


EDITS = [
    "UPDATE cs_metric SET value = 0.25 WHERE trial_id = 1 AND name = 'train/loss' AND step = 1",
    "UPDATE cs_metric SET kind = 'inf' WHERE trial_id = 1 AND name = 'train/loss' AND step = 2",
    "UPDATE cs_metric SET kind = NULL, value = 0 WHERE trial_id = 1 AND name = 'train/grad'",
    "UPDATE cs_metric SET step = 3 WHERE trial_id = 1 AND name = 'train/grad'",
    "UPDATE cs_metric SET name = 'x' WHERE trial_id = 1 AND name = 'train/grad'",
    "DELETE FROM cs_metric WHERE trial_id = 1 AND name = 'train/grad'",
    "INSERT INTO cs_metric (trial_id, name, step, value) VALUES (1, 'x', 1, 1)",
    "UPDATE cs_trial SET value = 0.76 WHERE trial_id = 1",
    "UPDATE cs_trial SET weights_sha256 = 'x' WHERE trial_id = 1",
    "UPDATE cs_trial SET final = '{' WHERE trial_id = 1",
    "UPDATE cs_trial SET state = 'failed' WHERE trial_id = 1",
]


@pytest.mark.parametrize("statement", EDITS)
def test_a_source_that_was_edited_is_not_taken_over(two: Store, statement: str) -> None:
    # given
    trained(two, must(two, "w", "one"))
    lease = must(two, "v", "two")
    edit(two, statement)
    # The source is done, and nobody takes it any more; of another state it is no source anyway.
    forgotten = "UPDATE cs_trial SET rows_digest = NULL WHERE trial_id = 1 AND state = 'done'"

    # when
    with pytest.raises(SourceChanged, match="one/0") as changed:
        two.queue.reuse(lease, wanting("v"))

    # then
    after = contents(two)
    edit(two, forgotten)
    assert contents(two) == after and changed.value.other is None
    trained(two, lease)
    assert steps_of(two, study="two") == [1, 2]


@pytest.mark.parametrize("edited", [1, 2])
def test_of_several_sources_one_that_was_edited_is_tried_once(two: Store, edited: int) -> None:
    # given two done trials of one training, one of them edited, and two more that are to come
    for name in ("three", "four"):
        two.studies.create(make_study(1, 1, name=name))
    for name in ("one", "two"):
        trained(two, must(two, "w", name, identify=identity if name == "one" else None))
    edit(two, "UPDATE cs_attempt SET identity = (SELECT max(identity) FROM cs_attempt) WHERE trial_id = 2")
    digest = "(SELECT max(rows_digest) FROM cs_trial)"
    edit(two, f"UPDATE cs_trial SET rows_digest = {digest} WHERE trial_id = 2")
    edit(two, f"UPDATE cs_trial SET reused_steps = 1 WHERE trial_id = {3 - edited}")  # so the edited one comes first
    edit(two, f"UPDATE cs_metric SET value = 0.25 WHERE trial_id = {edited} AND step = 1")
    name, other = ("one", "two")[edited - 1], ("two", "one")[edited - 1]
    lease = must(two, "v", "three")
    assert lease.twin is not None and lease.twin.name == f"{name}/0"

    # when the edited one is tried
    with pytest.raises(SourceChanged, match=f"{name}/0") as changed:
        two.queue.reuse(lease)

    # then the other one is there instead, and whoever comes next gets it at once
    assert changed.value.other is not None and changed.value.other.name == f"{other}/0"
    assert two.queue.reuse(replace(lease, twin=changed.value.other)) is None
    following = must(two, "v", "four")
    assert following.twin is not None and following.twin.name != f"{name}/0"
    two.queue.reuse(following)
    assert [row.source for study in ("three", "four") for row in two.trials.all(study)] == [f"{other}/0"] * 2


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_to_the_claim_finds_the_twin_again(
    two: Store, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    trained(two, must(two, "w", "one"))
    lose_one_commit(two, monkeypatch, happened=happened)

    lease = must(two, "v", "two")

    assert lease.twin is not None and lease.attempt == 1


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_to_the_end_costs_nothing(two: Store, monkeypatch: pytest.MonkeyPatch, happened: bool) -> None:
    two.studies.create(make_study(1, 1, name="three"))
    trained(two, must(two, "w", "one"))
    lease = must(two, "v", "two")
    lose_one_commit(two, monkeypatch, happened=happened)

    following = two.queue.reuse(lease, wanting("v", "three"))

    assert following is not None and (following.study, following.attempt) == ("three", 1)
    assert metrics(two, "one") == metrics(two, "two")
    assert two.admin.check() == []


def test_sent_again_it_is_done_though_the_source_was_edited_since(two: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(two, must(two, "w", "one"))
    lease = must(two, "v", "two")
    with monkeypatch.context() as patched:
        patched.setattr("cifarsweep.store.database._RETRY_AFTER_S", ())
        lose_one_commit(two, patched)
        with pytest.raises(StoreUnavailable):
            two.queue.reuse(lease)
    edit(two, EDITS[0])

    assert two.queue.reuse(lease) is None

    assert two.trials.get("two", 0).state is TrialState.DONE


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_to_the_putting_back_is_no_claim(
    two: Store, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    must(two, "w", "one")
    lose_one_commit(two, monkeypatch, happened=happened)

    assert claimed(two, "v", "two") is None

    assert two.trials.get("two", 0).attempts == ()
    assert two.admin.check() == []


def test_who_has_lost_its_lease_takes_nothing_over(two: Store) -> None:
    trained(two, must(two, "w", "one"))
    zombie = must(two, "v", "two")
    expire(two, zombie)
    successor = must(two, "u", "two")
    assert successor.attempt == 2 and successor.twin is not None
    before = contents(two)

    with pytest.raises(LeaseLost):
        two.queue.reuse(zombie)

    assert contents(two) == before
    two.queue.reuse(successor)
    assert [attempt.end for attempt in two.trials.get("two", 0).attempts] == [AttemptEnd.TAKEN_OVER, AttemptEnd.DONE]


def test_a_worker_that_reuses_nothing_waits_for_nobody(two: Store) -> None:
    must(two, "w", "one")
    assert claimed(two, "v", "two") is None

    assert must(two, "v", "two", identify=None).study == "two"


def test_of_workers_that_claim_twins_at_once_one_trains(two: Store, url: str) -> None:
    for name in ("three", "four"):
        two.studies.create(make_study(1, 1, name=name))

    def claim(worker: str, study: str) -> Lease | None:
        with Store.open(url) as store:
            return claimed(store, worker, study)

    found = at_once(*(partial(claim, f"w{name}", name) for name in ("one", "two", "three", "four")))

    assert sum(lease is not None for lease in found) == 1
    assert two.admin.check() == []


def test_of_equal_ranks_that_comes_first_which_most_steps_wait_for(store: Store) -> None:
    store.studies.create(make_study(3, 1, name="one"))
    for number, steps in enumerate((0, 10, 20), start=1):
        set_trial(store, number, waiting_steps=steps)
    set_trial(store, 1, rank=-1)

    assert [must(store, "w").number for _ in range(3)] == [0, 2, 1]


def test_a_branch_waits_until_its_source_has_passed_the_step(two: Store) -> None:
    set_trial(two, 2, source_id=1, branch_step=2, waits=True)
    running = must(two, "w")
    assert running.study == "one"

    def branches(lease: Lease, steps: int | None) -> str:
        return f"{lease.study} {steps}"

    assert claimed(two, "v", "two", identify=branches) is None
    two.queue.write(running, rows_at(1, 2))

    assert must(two, "v", "two", identify=branches).study == "two"


def test_a_hundred_trials_take_one_over_one_after_the_other(store: Store) -> None:
    names = [f"s{place}" for place in range(100)]
    for name in names:
        store.studies.create(make_study(1, 1, name=name))
    trained(store, must(store, "w", "s0"))

    lease = claimed(store, "v")
    while lease is not None:
        lease = store.queue.reuse(lease, wanting("v"))

    assert {store.trials.get(name, 0).source for name in names[1:]} == {"s0/0"}
