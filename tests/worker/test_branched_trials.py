"""Trials that begin with the steps of another one: workers, scripted children, a real database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from support import child, worker
from support.child import fraction, undisturbed_in_tree
from support.worker import Notes, here

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.queue.crashes import MOST_CRASHES
from cifarsweep.store.schema import branch, metric, trial
from cifarsweep.training.sharing import TrainingImages, plan

IMAGES, BATCH = 1000, 100
#: Where the schedules of the trials part, in steps: the first epoch is the same for all.
STEP = 10
TRUNK, LEFT, RIGHT = 0, 1, 2


def settings(*phases: str) -> Settings:
    return Settings(dataset="digits", epochs=3, batch_size=BATCH, log_every=1, schedule=Schedule(phases=phases))


@pytest.fixture
def study() -> Study:
    """A trunk, and two that begin with its first epoch."""
    arms = {"none": (), "half": ("1-2 x0.5",), "five": ("1-2 x5",)}
    cells = tuple(Cell(name=name, levels={}, settings=settings(*phases)) for name, phases in arms.items())
    return Study(name="demo", question="Does the rate matter?", cells=cells, seeds=(0,))


@pytest.fixture
def timing() -> Timing:
    return Timing(lease_s=30.0, beat_s=1.0)


@pytest.fixture
def tree(store: Store) -> Store:
    """The database, in which the two wait for the trunk."""

    def link(conn) -> None:
        ids = conn.execute(select(trial.c.trial_id).order_by(trial.c.number)).scalars().all()
        conn.execute(update(trial).where(trial.c.trial_id == ids[0]).values(waiting_steps=20))
        followed = {"source_id": ids[0], "branch_step": STEP, "waits": True}
        conn.execute(update(trial).where(trial.c.trial_id != ids[0]).values(followed))
        conn.execute(insert(branch).values(trial_id=ids[0], step=STEP))

    store._db.write(link)
    return store


def found(name: str, sha256: str = "d" * 64) -> DataSetInfo:
    """The data set, with so many images that its steps can be counted."""
    return DataSetInfo(name, "", (), IMAGES, 0, sha256, 0, here(name).path)


def work(store: Store, folder: Path, notes: Notes, behaviour: str = "ok", **plan: Any) -> int:
    command = child.command(folder, behaviour, script="tree", **plan.pop("script", {}))
    return worker.work(store, folder, display=notes, command=command, find=found, **plan)


def assert_all_is_as_if_each_had_trained_alone(store: Store) -> None:
    curves = store.metrics.read("demo", [VAL_ACCURACY])
    for row in store.trials.all("demo"):
        alone = undisturbed_in_tree(row.settings, row.seed, IMAGES)
        steps, values = curves[row.number, VAL_ACCURACY]
        assert row.state is TrialState.DONE
        assert dict(zip(steps.tolist(), values.tolist(), strict=True)) == {s: fraction(c) for s, c in alone}
        assert row.weights_sha256 == alone[-1][1]
    assert store.admin.check() == []


def reused(store: Store) -> list[int]:
    return [row.reused_steps for row in store.trials.all("demo")]


def kept_files(folder: Path) -> dict[str, int]:
    """How many checkpoints each folder holds."""
    files = sorted((folder / "artifacts").rglob("step-*.pt"))
    return {name: sum(file.parent.name == name for file in files) for name in {file.parent.name for file in files}}


@pytest.mark.parametrize("slots", [1, 3])
def test_trials_begin_where_their_trunk_was_and_nothing_is_left_of_the_branch(tree, tmp_path, slots):
    notes = Notes()

    assert work(tree, tmp_path, notes, slots=slots) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, STEP, STEP]
    assert notes.starts == {TRUNK: [0], LEFT: [STEP], RIGHT: [STEP]}
    assert [row.source for row in tree.trials.all("demo")] == ["", "demo/0", "demo/0"]
    assert kept_files(tmp_path) == {"0": 1, "1": 1, "2": 1}
    assert tree._db.read(lambda conn: conn.execute(select(branch)).all()) == []


def test_without_reuse_each_trains_in_full(tree, tmp_path):
    notes = Notes()

    assert work(tree, tmp_path, notes, reuse=False) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, 0, 0] and notes.starts == {TRUNK: [0], LEFT: [0], RIGHT: [0]}


@pytest.mark.parametrize(("keep", "files"), [("final", {"0": 1, "1": 1, "2": 1}), ("none", {})])
def test_a_worker_that_keeps_no_branches_trains_each_in_full(tree, tmp_path, keep, files):
    assert work(tree, tmp_path, Notes(), keep_checkpoints=keep) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, 0, 0] and kept_files(tmp_path) == files


def when_the_trunk_has_trained(tree: Store, folder: Path, **plan: Any) -> None:
    """Let a worker take the trunk alone."""
    assert work(tree, folder, Notes(), max_trials=1, **plan) == 0
    assert tree.trials.get("demo", TRUNK).state is TrialState.DONE


def branch_file(folder: Path) -> Path:
    (file,) = (folder / "artifacts").rglob("*-branches/step-*.pt")
    return file


def damaged(file: Path) -> None:
    file.write_bytes(b"\0" + file.read_bytes()[1:])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(damaged, "is damaged"), (emptied, "has 0 bytes"), (Path.unlink, "not visible in")],
    ids=["damaged", "emptied", "gone"],
)
def test_a_checkpoint_that_is_not_what_it_was_costs_only_time(tree, tmp_path, spoil: Callable[[Path], Any], words):
    when_the_trunk_has_trained(tree, tmp_path)
    spoil(branch_file(tmp_path))
    notes = Notes()

    assert work(tree, tmp_path, notes) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, 0, 0] and notes.starts == {LEFT: [0], RIGHT: [0]}
    assert len(notes.notes_with(words)) == (1 if spoil is Path.unlink else 2)


def test_a_worker_that_does_not_see_the_checkpoints_says_so_once(tree, tmp_path):
    when_the_trunk_has_trained(tree, tmp_path)
    branch_file(tmp_path).rename(tmp_path / "on another machine")
    notes = Notes()

    assert work(tree, tmp_path, notes, artifacts=tmp_path / "others", slots=2) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert len(notes.notes_with("share a place with --artifacts")) == 1


def test_a_trial_on_another_device_begins_at_0(tree, tmp_path):
    when_the_trunk_has_trained(tree, tmp_path)

    assert work(tree, tmp_path, Notes(), script={"gpu": "00000000:01:00.0"}) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, 0, 0] and kept_files(tmp_path).get("0-branches", 0) == 0


def test_a_trial_whose_trunk_was_edited_says_so_and_begins_at_0(tree, tmp_path):
    when_the_trunk_has_trained(tree, tmp_path)
    first_row = metric.c.trial_id == 1, metric.c.step == 1
    tree._db.write(lambda conn: conn.execute(update(metric).where(*first_row).values(value=0.5)))
    notes = Notes()

    assert work(tree, tmp_path, notes) == 0

    assert reused(tree) == [0, 0, 0]
    assert len(notes.notes_with("the rows of demo/0 are not those any more")) == 2
    for number in (LEFT, RIGHT):
        row = tree.trials.get("demo", number)
        assert row.weights_sha256 == undisturbed_in_tree(row.settings, row.seed, IMAGES)[-1][1]


@pytest.mark.parametrize("end", ["cancel", "pause", "raise demo/0"])
def test_a_trunk_that_does_not_get_there_holds_nobody_up(tree, tmp_path, end):
    notes = Notes()
    if end == "raise demo/0":
        code = work(tree, tmp_path, notes, end, timing=Timing(1.2, 0.3))
    else:
        getattr(tree.control, end)("demo", TRUNK)
        code = work(tree, tmp_path, notes)

    assert code == 0
    states = [row.state for row in tree.trials.all("demo")]
    assert states[1:] == [TrialState.DONE] * 2 and states[0] is not TrialState.DONE
    for number in (LEFT, RIGHT):
        row = tree.trials.get("demo", number)
        assert row.weights_sha256 == undisturbed_in_tree(row.settings, row.seed, IMAGES)[-1][1]


def test_a_poisoned_trunk_holds_nobody_up_and_keeps_nothing(tree, tmp_path):
    # given a trunk whose children have crashed as often as they may, but for once
    nearly = update(trial).where(trial.c.number == TRUNK).values(crashes=MOST_CRASHES - 1)
    tree._db.write(lambda conn: conn.execute(nearly))

    # when one crashes again, after the branch step
    code = work(tree, tmp_path, Notes(), f"oom-killed demo/{TRUNK}", script={"bad_step": STEP + 3, "save_every": 100})

    # then the others are trained to the same bits, from its checkpoint, which is removed afterwards
    assert code == 0 and tree.trials.get("demo", TRUNK).state is TrialState.POISONED
    for number in (LEFT, RIGHT):
        row = tree.trials.get("demo", number)
        assert row.weights_sha256 == undisturbed_in_tree(row.settings, row.seed, IMAGES)[-1][1]
    assert reused(tree)[1:] == [STEP, STEP] and "0-branches" not in kept_files(tmp_path)
    assert tree._db.read(lambda conn: conn.execute(select(branch)).all()) == []


def test_who_waits_for_a_trunk_that_is_trained_without_reuse_trains_in_full(tree, tmp_path):
    # given a trunk that a worker with --no-reuse has trained, which shares nothing
    when_the_trunk_has_trained(tree, tmp_path, reuse=False)
    notes = Notes()

    # when a worker comes that reuses
    assert work(tree, tmp_path, notes) == 0

    # then it waits for no checkpoint of it
    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, 0, 0] and notes.starts == {LEFT: [0], RIGHT: [0]}
    assert tree._db.read(lambda conn: conn.execute(select(branch)).all()) == []


def test_a_later_study_begins_where_a_checkpoint_is_still_kept(tree, tmp_path, study):
    when_the_trunk_has_trained(tree, tmp_path)
    third = study.model_copy(
        update={"name": "later", "cells": (Cell(name="third", levels={}, settings=settings("1-2 x3")),)}
    )
    tree.studies.create(third, planner=lambda trials: plan(trials, lambda _: TrainingImages(IMAGES)))
    notes = Notes()

    assert work(tree, tmp_path, notes) == 0

    assert reused(tree) == [0, STEP, STEP]
    (later,) = tree.trials.all("later")
    assert (later.source, later.reused_steps) == ("demo/0", STEP)
    assert later.weights_sha256 == undisturbed_in_tree(later.settings, 0, IMAGES)[-1][1]
    assert kept_files(tmp_path).get("0-branches", 0) == 0 and tree.admin.check() == []


def test_who_is_put_before_its_trunk_does_not_wait_for_it(tree, tmp_path):
    tree.control.prioritize("demo", LEFT, priority=5)
    notes = Notes()

    assert work(tree, tmp_path, notes) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert next(iter(notes.starts)) == LEFT and reused(tree) == [0, 0, STEP]


def test_a_trunk_that_is_tried_again_after_all_have_trained_keeps_nothing_for_them(tree, tmp_path):
    tree.control.cancel("demo", TRUNK)
    assert work(tree, tmp_path, Notes()) == 0
    tree.control.retry("demo", TRUNK)

    assert work(tree, tmp_path, Notes()) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert reused(tree) == [0, 0, 0] and kept_files(tmp_path) == {"0": 1, "1": 1, "2": 1}


def test_a_branch_that_is_killed_before_its_own_checkpoint_begins_there_again(tree, tmp_path):
    when_the_trunk_has_trained(tree, tmp_path)
    notes = Notes()

    assert work(tree, tmp_path, notes, "oom-killed-once", script={"bad_step": 13, "save_every": 20}) == 0

    assert_all_is_as_if_each_had_trained_alone(tree)
    assert notes.starts == {LEFT: [STEP, STEP], RIGHT: [STEP, STEP]}
    assert reused(tree) == [0, STEP, STEP] and kept_files(tmp_path) == {"0": 1, "1": 1, "2": 1}
