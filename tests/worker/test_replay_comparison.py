"""What a comparison of two trainings says, and how a child that fails is reported."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support import child

from cifarsweep.errors import CifarsweepError
from cifarsweep.spec.provenance import Source
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import AttemptEnd, Outcome, TrialResult, TrialState
from cifarsweep.store.trial_records import AttemptRow, Reuse, TrialRow
from cifarsweep.worker.context import versions
from cifarsweep.worker.replay import Original, Repetition, compare, repeat

ROWS = {("val/loss", 1): 0.5, ("val/loss", 2): math.nan, ("val/accuracy", 2): 0.25}


def attempt(number, device="cpu", first_step=0, **versions):
    now = datetime.now(UTC)
    return AttemptRow(number, "worker", "host", device, versions, now, now, AttemptEnd.DONE, first_step, "", "")


ONE_ATTEMPT = (attempt(1, torch="2"),)


def original(rows=ROWS, attempts=ONE_ATTEMPT):
    trial = TrialRow(
        number=0,
        cell="base",
        levels={},
        own_settings=Settings(epochs=1),
        seed=3,
        state=TrialState.DONE,
        outcome=Outcome.FINISHED,
        value=0.25,
        final={},
        step=2,
        elapsed_s=1.0,
        weights_sha256="a",
        attempts=attempts,
    )
    return Original(trial, rows)


AGAIN = Repetition(TrialResult(Outcome.FINISHED, 2, {}, "a"), ROWS, "cpu", {"torch": "2"})


def test_the_same_bits_are_reproduced_nan_included():
    verdict = compare(original(), AGAIN)
    assert verdict.reproduced and verdict.rows == 3 and verdict.environment_differences == ()


@pytest.mark.parametrize(
    ("changes", "deviation"),
    [
        ({("val/loss", 1): math.nextafter(0.5, 1)}, ("val/loss", 1, 2, math.ulp(0.5))),
        ({("val/loss", 2): 1.0}, ("val/loss", 1, 2, math.inf)),
        ({("val/accuracy", 4): 0.5}, ("val/accuracy", 1, 2, 0.0)),
    ],
    ids=["the last bit", "a number for nan", "a row more"],
)
def test_one_row_is_enough_to_deviate(changes, deviation):
    verdict = compare(original(), replace(AGAIN, rows=ROWS | changes))
    assert not verdict.reproduced and verdict.weights
    (found,) = verdict.deviations
    assert (found.metric, found.rows, found.of, found.largest) == deviation


def test_a_test_at_the_end_counts_if_the_original_had_one():
    tested = ROWS | {("test/accuracy", 2): 0.5}

    assert compare(original(), replace(AGAIN, rows=tested)).reproduced
    assert not compare(original(tested), replace(AGAIN, rows=tested | {("test/accuracy", 2): 0.75})).reproduced
    assert not compare(original(tested), AGAIN).reproduced


def test_other_weights_are_not_reproduced_though_all_rows_are_the_same():
    verdict = compare(original(), replace(AGAIN, result=replace(AGAIN.result, weights_sha256="b")))
    assert not verdict.reproduced and not verdict.weights and verdict.deviations == ()


def test_surroundings_name_the_attempt_where_there_were_several():
    attempts = attempt(1, torch="2"), attempt(2, device="H200", first_step=1, torch="3")
    verdict = compare(original(attempts=attempts), AGAIN)
    assert verdict.environment_differences == ("device: H200 in attempt 2, cpu now", "torch: 3 in attempt 2, 2 now")


def test_surroundings_of_steps_that_were_taken_over_name_the_trial_that_trained_them():
    branch, twin = original(attempts=(attempt(1, first_step=1, torch="2"),)), original()
    taken = Reuse((Source("demo/3", 1),), 0.5, (attempt(1, torch="1"),))
    of_branch = compare(replace(branch, trial=replace(branch.trial, reuse=taken)), AGAIN)
    taken = replace(taken, sources=(Source("demo/3", 2),))
    of_twin = compare(replace(twin, trial=replace(twin.trial, reuse=taken)), AGAIN)

    assert of_branch.environment_differences == ("torch: 1 in attempt 1 of demo/3, 2 now",)
    assert of_twin.environment_differences == ("torch: 1 of demo/3, 2 now",)


def test_an_attempt_that_trained_nothing_of_the_result_is_not_named():
    attempts = attempt(1, torch="1"), attempt(2, device="H200", torch="2")
    assert compare(original(attempts=attempts), AGAIN).environment_differences == ("device: H200, cpu now",)


def test_a_child_trains_it_again_from_the_start(tmp_path):
    found = repeat(original(), child.command(tmp_path), tmp_path, lambda _: None)
    assert found.result.weights_sha256 == child.chain(3)
    assert sorted(found.rows) == [("val/accuracy", step) for step in range(1, 7)]
    assert (found.device, found.versions) == ("no device", versions({"fake": "1"}, {}))


@pytest.mark.parametrize(
    ("behaviour", "words"), [("raise", "boom: this trial can't train"), ("crash", "last words of the child")]
)
def test_a_child_that_fails_is_reported(tmp_path, behaviour, words):
    with pytest.raises(CifarsweepError, match=words):
        repeat(original(), child.command(tmp_path, behaviour), tmp_path, lambda _: None)
