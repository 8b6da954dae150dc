"""A trial that begins from another one's checkpoint equals, to the last bit, the one that trained alone."""

import errno
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import FAMILIES, OPTIMIZERS, RECIPES, SGD, change
from stripes import TINY, bits, finished, rows, stop_after, stripes

from cifarsweep.checkpoints import folder as folder_module
from cifarsweep.spec.metrics import BEST_STEP, EARLY_STOPPED_AT, TIMING_METRICS
from cifarsweep.spec.settings import EarlyStop, Optimizer, Schedule, Validation
from cifarsweep.spec.types import Outcome
from cifarsweep.training.events import (
    BranchSaved,
    Event,
    Finished,
    Metrics,
    Rejected,
    Saved,
    SaveFailed,
    Started,
    Stopped,
)
from cifarsweep.training.identity import shared_rows_steps
from cifarsweep.training.loop import train

IMAGES = 92
#: Ends after half of the steps of TINY, which are 12.
HALF = change(epochs=1)
#: The same steps as TINY up to the end of the first epoch, step 6.
LATER_RATE = change(schedule=Schedule(phases=("1-2 x3",)))

few_examples = settings(max_examples=4)


def trunk(bench, kind, *steps, **options):
    """The events of a trial that keeps checkpoints at these steps, and the place of each."""
    branches = bench.folder()
    events = bench.events(kind, branch_steps=frozenset(steps), branches=branches, **options)
    saved = {event.checkpoint.step: (branches, event.checkpoint) for event in events if isinstance(event, BranchSaved)}
    return events, saved


def as_another_process():
    torch.manual_seed(99)


def same(before, step, attempts, alone):
    """The rows of the trunk before the step, and those of the branch, are all rows of the trial alone."""
    found = {key: value for key, value in bits(before).items() if key[1] < step}
    for events in attempts:
        found |= bits(events)
    assert found == bits(alone)
    result, expected = finished(attempts[-1]).result, finished(alone).result
    assert (result.outcome, result.step, result.hits) == (expected.outcome, expected.step, expected.hits)
    assert result.weights_sha256 == expected.weights_sha256
    finals = [
        {name: value.hex() for name, value in each.final.items() if name not in TIMING_METRICS}
        for each in (result, expected)
    ]
    assert finals[0] == finals[1]


def branch_equals_alone(bench, of, by, step):
    """Branch the second off the first, which is not disturbed by that."""
    before, saved = trunk(bench, of, step)
    assert bits(before) == bits(bench.undisturbed(of))
    assert finished(before).result.weights_sha256 == finished(bench.undisturbed(of)).result.weights_sha256
    as_another_process()
    events = bench.events(by, begin=saved[step])
    assert (events[0].start_step, events[0].branch_step) == (step, step)
    same(before, step, [events], bench.undisturbed(by))


def with_other_rates(kind):
    """The same recipe with other rates from the second epoch on."""
    other = ("1-2 x3",) if not kind.schedule.phases else ()
    return kind.model_copy(update={"schedule": kind.schedule.model_copy(update={"phases": other})})


@pytest.mark.parametrize("name", RECIPES)
@few_examples
@given(step=st.integers(1, 6))
def test_every_recipe(bench, name, step):
    branch_equals_alone(bench, RECIPES[name], with_other_rates(RECIPES[name]), step)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=1)
@given(step=st.integers(1, 3))
def test_every_family_with_every_optimizer(narrow, family, optimizer, step):
    if family == "timm":
        pytest.importorskip("timm", reason="the extra `timm` is not installed")
    kind = change(model=FAMILIES[family], optimizer=OPTIMIZERS[optimizer], batch_size=8)  # 3 steps in an epoch
    branch_equals_alone(narrow, kind, with_other_rates(kind), step)


@pytest.mark.parametrize("step", [3, 4, 6])
@pytest.mark.parametrize(("of", "by"), [(HALF, TINY), (TINY, HALF)], ids=["short", "long"])
def test_a_budget_that_is_the_beginning_of_another_one(bench, of, by, step):
    branch_equals_alone(bench, of, by, step)


@settings(max_examples=15)
@given(data=st.data())
def test_branch_steps_against_the_steps_of_rows_and_ends(bench, data):
    kinds = [{}, {"keep_best": True}, {"keep_best": True, "early_stop": EarlyStop(patience=1, min_delta=1.0)}]
    decide_rows = {
        "log_every": data.draw(st.integers(1, 9)),
        "eval_every": data.draw(st.none() | st.integers(1, 9)),
        **data.draw(st.sampled_from(kinds)),
    }
    totals = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    step = data.draw(st.integers(1, min(totals)))
    of, by = (change(epochs=None, steps=total, **decide_rows) for total in totals)
    assert shared_rows_steps(of, by, IMAGES) == min(totals)
    if finished(bench.undisturbed(of)).result.step < step:  # it had stopped
        assert trunk(bench, of, step)[1] == {}
    else:
        branch_equals_alone(bench, of, by, step)


@pytest.mark.parametrize("step", [3, 4, 6])
@few_examples
@given(events=st.integers(1, 14))
def test_a_branch_that_is_killed_begins_again_or_goes_on_from_its_own_checkpoint(bench, step, events):
    before, saved = trunk(bench, TINY, step)
    folder = bench.folder()
    attempt = train(bench.run(LATER_RATE, folder=folder, begin=saved[step], save_every_s=0.0))
    first = list(itertools.islice(attempt, events))
    attempt.close()
    as_another_process()
    own = [event.checkpoint for event in first if isinstance(event, Saved)][-1:]

    second = bench.events(LATER_RATE, folder=folder, resume=own, begin=saved[step])

    assert second[0].branch_step == (None if own else step)
    kept = [event for event in first if isinstance(event, Metrics) and event.rows[0].step <= second[0].start_step]
    same(before, step, [kept, second] if own else [second], bench.undisturbed(LATER_RATE))


@few_examples
@given(events=st.integers(1, 20))
def test_a_trunk_that_is_killed_saves_every_branch_step_that_it_takes_again(bench, events):
    folder, branches, steps = bench.folder(), bench.folder(), frozenset({3, 4, 6})
    options = {"folder": folder, "branches": branches, "branch_steps": steps}
    attempt = train(bench.run(save_every_s=0.0, **options))
    first = list(itertools.islice(attempt, events))
    attempt.close()
    own = [event.checkpoint for event in first if isinstance(event, Saved)][-1:]
    as_another_process()

    second = bench.events(resume=own, **options)

    saved = [event.checkpoint for event in (*first, *second) if isinstance(event, BranchSaved)]
    assert {ref.step for ref in saved} == steps
    for ref in saved:
        third = bench.events(LATER_RATE, begin=(branches, ref))
        same(bench.undisturbed(TINY), ref.step, [third], bench.undisturbed(LATER_RATE))


def test_the_checkpoint_comes_right_after_the_step_and_before_its_rows(bench):
    events, _ = trunk(bench, TINY, 3, 4, 12, 13)

    names = [
        (type(event).__name__, event.rows[0].step if isinstance(event, Metrics) else None)
        for event in events
        if isinstance(event, Metrics | BranchSaved | Saved | Finished)
    ]
    between = [("BranchSaved", None)]
    assert names == [
        *between,
        *between,
        *(("Metrics", step) for step in (4, 6, 8)),
        *between,
        ("Metrics", 12),
        ("Saved", None),
        ("Finished", None),
    ]


def kinds(events: list[Event]) -> list[str]:
    return [
        f"{type(event).__name__} {event.checkpoint.step}" for event in events if isinstance(event, Saved | BranchSaved)
    ]


def test_a_stop_between_the_branch_step_and_its_rows_keeps_both_checkpoints(bench):
    folder, branches = bench.folder(), bench.folder()
    options = {"folder": folder, "branches": branches, "branch_steps": frozenset({4})}

    first = bench.events(should_stop=stop_after(4), **options)

    assert kinds(first) == ["BranchSaved 4", "Saved 4"]
    assert first[-1] == Stopped(4)
    own, branch = first[-2].checkpoint, next(each.checkpoint for each in first if isinstance(each, BranchSaved))
    # The rows of step 4 are still to come: the step is saved again if that is wanted.
    again = bench.events(resume=(own,), **options)
    assert kinds(again) == ["BranchSaved 4", "Saved 12"]
    second = bench.events(folder=folder, resume=(own,))
    assert kinds(second) == ["Saved 12"]
    for events in (again, second):
        assert bits(first) | bits(events) == bits(bench.undisturbed(TINY))
    same(
        bench.undisturbed(TINY), 4, [bench.events(LATER_RATE, begin=(branches, branch))], bench.undisturbed(LATER_RATE)
    )


def test_a_stop_inside_the_evaluation_of_a_branch_step_saves_it_once(bench):
    # asked before 4 steps, the row of step 4, 2 steps and the row of step 6; the ninth time is inside its evaluation
    events, saved = trunk(bench, TINY, 6, should_stop=stop_after(8))
    assert events[-1] == Stopped(6)
    assert kinds(events) == ["BranchSaved 6", "Saved 6"]
    same(bench.undisturbed(TINY), 6, [bench.events(LATER_RATE, begin=saved[6])], bench.undisturbed(LATER_RATE))


@pytest.mark.parametrize(("step", "saved_again"), [(2, True), (3, True), (4, False), (5, False), (12, False)])
def test_a_trial_that_goes_on_saves_a_branch_step_whose_rows_are_to_come(bench, step, saved_again):
    folder = bench.folder()
    saved = [event.checkpoint for event in bench.events(folder=folder, save_every_s=0.0) if isinstance(event, Saved)]
    own = next(ref for ref in saved if ref.step == step)  # saved with the rows of step 4 and 12

    events = bench.events(folder=folder, resume=(own,), branches=bench.folder(), branch_steps=frozenset({3, 4}))

    assert any(isinstance(event, BranchSaved) and event.checkpoint.step in (3, 4) for event in events) == saved_again
    assert finished(events).result.weights_sha256 == finished(bench.undisturbed(TINY)).result.weights_sha256


def test_a_branch_may_be_a_trunk_at_its_first_step(bench):
    before, saved = trunk(bench, TINY, 4)

    events, own = trunk(bench, LATER_RATE, 4, 5, begin=saved[4])

    assert sorted(own) == [4, 5]
    for step in own:
        same(before, step, [bench.events(HALF, begin=own[step])], bench.undisturbed(HALF))
    same(before, 4, [events], bench.undisturbed(LATER_RATE))


def test_its_own_checkpoint_comes_first(bench):
    _, saved = trunk(bench, TINY, 5)
    folder = bench.folder()
    first = bench.events(LATER_RATE, folder=folder, should_stop=stop_after(2))
    own = first[-2].checkpoint

    events = bench.events(LATER_RATE, folder=folder, resume=(own,), begin=saved[5])

    assert (events[0].start_step, events[0].branch_step) == (2, None)
    Path(own.path).unlink()
    events = bench.events(LATER_RATE, folder=folder, resume=(own,), begin=saved[5])
    assert isinstance(events[0], Rejected)
    assert (events[1].start_step, events[1].branch_step) == (5, 5)


def rejected(bench, kind, begin, **options):
    """Why a branch was not accepted; the trial then trained in full, to the same bits."""
    events = bench.events(kind, begin=begin, **options)
    assert [type(event) for event in events[:2]] == [Rejected, Started]
    assert (events[1].start_step, events[1].branch_step) == (0, None)
    if not options:
        same([], 0, [events], bench.undisturbed(kind))
    return events[0].reason


def test_a_damaged_or_absent_checkpoint_is_no_harm(bench):
    _, saved = trunk(bench, TINY, 5)
    path = Path(saved[5][1].path)
    path.write_bytes(path.read_bytes()[:-10])
    rejected(bench, LATER_RATE, saved[5])
    path.unlink()
    assert "gone" in rejected(bench, LATER_RATE, saved[5])


@pytest.mark.parametrize(
    "other",
    [
        SGD,
        change(augment=TINY.augment.model_copy(update={"crop": 1})),
        change(optimizer=TINY.optimizer.model_copy(update={"lr": 0.02})),
        change(schedule=Schedule(name="cosine")),
        change(log_every=3),
        change(eval_every=5),
        change(keep_best=True),
        change(early_stop=EarlyStop(patience=5)),
        change(epochs=None, steps=4),
    ],
    ids=lambda kind: " ".join(
        sorted(key for key in type(kind).model_fields if getattr(kind, key) != getattr(TINY, key))
    ),
)
def test_a_checkpoint_of_other_steps_or_other_rows_is_not_accepted(bench, other):
    _, saved = trunk(bench, TINY, 5)
    assert "another trial" in rejected(bench, other, saved[5])


def test_a_checkpoint_of_another_seed_or_of_other_labels_is_not_accepted(bench):
    _, saved = trunk(bench, TINY, 5)
    assert "another trial" in rejected(bench, LATER_RATE, saved[5], seed=1)
    images, labels = stripes(92, seed=1)
    bench.split = replace(bench.split, train_images=images, train_labels=labels.flip(0))
    assert "other images or labels" in rejected(bench, LATER_RATE, saved[5])


def test_a_checkpoint_with_the_rows_of_an_end_is_not_accepted(bench):
    run = bench.run(HALF)
    last = finished(list(train(run))).checkpoint
    assert "after the rows of its step" in rejected(bench, TINY, (run.folder, last))


def test_where_bits_do_not_repeat_nothing_is_shared(bench):
    fast, slower = (kind.model_copy(update={"determinism": "fast"}) for kind in (TINY, LATER_RATE))
    _, saved = trunk(bench, fast, 5)
    assert "another trial" in rejected(bench, slower, saved[5])
    folder = bench.folder()
    first = bench.events(fast, folder=folder, should_stop=stop_after(6))
    second = bench.events(fast, folder=folder, resume=(first[-2].checkpoint,))
    assert second[0].start_step == 5  # its own checkpoints are good


def test_a_full_disk_costs_the_branch_and_nothing_else(bench, monkeypatch):
    written = folder_module.CheckpointFolder.write
    branches = bench.folder()

    def write(self, *arguments):
        if self is branches:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(self, *arguments)

    monkeypatch.setattr(folder_module.CheckpointFolder, "write", write)
    events = bench.events(branch_steps=frozenset({3, 4}), branches=branches)

    failures = [event for event in events if isinstance(event, SaveFailed)]
    assert [event.step for event in failures] == [3, 4]
    assert "No space left on device" in failures[0].reason
    assert not any(isinstance(event, BranchSaved) for event in events)
    assert bits(events) == bits(bench.undisturbed(TINY))
    assert finished(events).checkpoint is not None


DIVERGES = change(optimizer=Optimizer(name="sgd", lr=1e25), log_every=2)


def test_a_trunk_that_diverges_keeps_no_checkpoint_after_its_end(bench):
    events, saved = trunk(bench, DIVERGES, *range(1, 13))
    end = finished(events).result
    assert (end.outcome, end.step) == (Outcome.DIVERGED, 2)
    assert sorted(saved) == [1, 2]
    for step in saved:  # a branch from before the end ends the same way
        by = DIVERGES.model_copy(update={"epochs": 1})
        same(events, step, [bench.events(by, begin=saved[step])], bench.undisturbed(by))


def test_the_best_weights_and_the_early_stop_of_the_trunk_are_carried(bench):
    kind = change(epochs=9, keep_best=True, eval_every=2, early_stop=EarlyStop(patience=3, min_delta=1.0))
    other = kind.model_copy(update={"epochs": 8})
    before, saved = trunk(bench, kind, 5, 8)
    assert finished(before).result.final[EARLY_STOPPED_AT] == 8

    for step in saved:
        events = bench.events(other, begin=saved[step])
        same(before, step, [events], bench.undisturbed(other))
        assert finished(events).result.final[BEST_STEP] <= 8
        kept = [
            torch.load(finished(each).checkpoint.path, weights_only=True)["watch"]["weights"]
            for each in (events, bench.undisturbed(other))
        ]
        assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_test_results_are_of_the_branch_itself(bench):
    validation = Validation(split="holdout", fraction=0.2)
    bench.split = replace(bench.split, **dict(zip(("test_images", "test_labels"), stripes(12, seed=3), strict=True)))
    one, other = (kind.model_copy(update={"validation": validation, "keep_best": True}) for kind in (TINY, LATER_RATE))
    branch_equals_alone(bench, one, other, 6)
    assert "test/accuracy" in finished(bench.undisturbed(other)).result.final


def test_elapsed_time_includes_that_of_the_trunk(bench):
    before, saved = trunk(bench, TINY, 5)
    events = bench.events(LATER_RATE, begin=saved[5])
    earlier, later = rows(before)["elapsed_s", 4], rows(events)["elapsed_s", 6]
    assert 0 < earlier < later < finished(events).result.final["elapsed_s"]
