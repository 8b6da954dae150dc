"""Trials that begin with the steps of another one: what they take along, and what becomes of the checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import (
    contents,
    expire,
    lose_one_commit,
    make_study,
    plan_branch,
    result,
    rows_at,
    saved_at,
    set_trial,
    steps_of,
)
from sqlalchemy import delete, select, text, update

from cifarsweep.errors import LeaseLost
from cifarsweep.spec.metrics import ELAPSED
from cifarsweep.spec.types import AttemptEnd, MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import Identify, Lease
from cifarsweep.store.schema import branch, metric, trial

#: The ids of the trials: the first one's steps are those of the others too.
TRUNK, LEFT, RIGHT = 1, 2, 3
STEP = 4
SAVED = saved_at(STEP, "-branch")
_NUMBERS = count()


def around(machine: str) -> Identify:
    """Up to its branch step a trial is told by its seed and where it is trained, and in all by its cell, too."""
    return lambda lease, steps: f"{lease.seed} {machine} {steps or lease.cell}"


HERE = around("here")


def claimed(store: Store, trial_id: int, worker: str = "w", identify: Identify | None = HERE) -> Lease:
    """Let the worker take that trial, though it may have to wait for another one."""
    set_trial(store, trial_id, rank=-1, waits=False)
    lease = store.queue.claim(worker, identify=identify)
    assert lease is not None and lease.trial_id == trial_id
    set_trial(store, trial_id, rank=0)
    return lease


def elapsed_at(*steps: int) -> list[MetricRow]:
    return [MetricRow(ELAPSED, step, 10.0 * step) for step in steps]


@pytest.fixture
def tree(store: Store) -> Store:
    """A trunk and two that are to begin from its step 4."""
    store.studies.create(make_study(3, 1))
    for follower in (LEFT, RIGHT):
        plan_branch(store, TRUNK, STEP, follower)
    return store


@pytest.fixture
def trunk(tree: Store) -> Lease:
    """The trunk, whose checkpoint at the branch step is there, with rows of that step too."""
    rows = [*rows_at(1, 2, 3, 4), *elapsed_at(2, 4), MetricRow("odd", 3, math.nan)]
    return tree.queue.keep_branches(claimed(tree, TRUNK), rows, [SAVED])


@pytest.fixture
def left(tree: Store, trunk: Lease) -> Lease:
    """One that has begun there."""
    lease = tree.queue.begin(claimed(tree, LEFT))
    assert lease is not None
    return lease


def row_of(store: Store, trial_id: int):
    return store._db.read(lambda conn: conn.execute(select(trial).where(trial.c.trial_id == trial_id)).one())


def kept(store: Store) -> list[tuple[int, int, str | None]]:
    """Trial, step and path of what is kept."""
    query = select(branch.c.trial_id, branch.c.step, branch.c.path).order_by(branch.c.trial_id, branch.c.step)
    return [tuple(row) for row in store._db.read(lambda conn: conn.execute(query).all())]


def rows_of(store: Store, trial_id: int) -> set[tuple]:
    query = select(metric.c.name, metric.c.step, metric.c.value, metric.c.kind).where(metric.c.trial_id == trial_id)
    return {tuple(row) for row in store._db.read(lambda conn: conn.execute(query).all())}


def edit(store: Store, statement) -> None:
    store._db.write(lambda conn: conn.execute(statement))


def test_a_trunk_learns_where_others_are_to_begin(tree: Store) -> None:
    lease = claimed(tree, TRUNK)

    assert lease.branch_steps == {STEP: HERE(lease, STEP)}


def test_a_trial_begins_with_the_rows_before_the_step_and_counts_what_it_took(tree: Store, trunk: Lease) -> None:
    lease = claimed(tree, LEFT)
    assert lease.branch is not None
    assert (lease.branch.source.name, lease.branch.checkpoint) == ("s/0", SAVED)

    begun = tree.queue.begin(lease)

    assert begun is not None and begun.step == 0
    assert rows_of(tree, LEFT) == {row for row in rows_of(tree, TRUNK) if row[1] < STEP}
    assert ("odd", 3, None, "nan") in rows_of(tree, LEFT)
    row = row_of(tree, LEFT)
    assert (row.step, row.reused_steps, row.reused_s, row.elapsed_s, row.source_id) == (4, 4, 20.0, 20.0, TRUNK)
    tree.queue.finish(begun, rows_at(4, 5), None, result(5))
    found = tree.trials.get("s", 1)
    assert found.reused_text == "first 4 steps from s/0" and steps_of(tree, number=1) == [1, 2, 3, 4, 5]
    assert [each.first_step for each in found.trained_by] == [0, STEP]
    assert tree.admin.check() == []


@settings(max_examples=15)
@given(data=st.data())
def test_whatever_the_trunk_has_recorded_exactly_what_is_before_the_step_goes_along(store: Store, data) -> None:
    name = f"s{next(_NUMBERS)}"
    store.studies.create(make_study(2, 1, name=name))
    query = select(trial.c.trial_id).order_by(trial.c.trial_id)
    source, follower = store._db.read(lambda conn: conn.execute(query).scalars().all())[-2:]
    step = data.draw(st.integers(1, 12))
    plan_branch(store, source, step, follower)
    marks = data.draw(st.sets(st.tuples(st.sampled_from(["a", "b", ELAPSED]), st.integers(1, 12)), max_size=20))
    rows = [MetricRow(name, at, data.draw(st.floats(allow_nan=True))) for name, at in sorted(marks)]

    store.queue.keep_branches(claimed(store, source, identify=around(name)), rows, [saved_at(step)])
    lease = claimed(store, follower, identify=around(name))

    assert store.queue.begin(lease) is not None
    assert rows_of(store, follower) == {row for row in rows_of(store, source) if row[1] < step}


@pytest.mark.parametrize("identify", [around("elsewhere"), None], ids=["elsewhere", "no reuse"])
def test_who_would_not_have_trained_the_same_begins_at_0(tree: Store, trunk: Lease, identify) -> None:
    assert claimed(tree, LEFT, identify=identify).branch is None


def test_a_checkpoint_of_two_environments_is_shared_with_nobody(tree: Store) -> None:
    first = claimed(tree, TRUNK)
    tree.queue.write(first, rows_at(1, 2), saved_at(2))
    expire(tree, first)

    assert claimed(tree, TRUNK, identify=around("elsewhere")).branch_steps == {}


def test_a_trunk_that_goes_on_in_the_same_environment_shares(tree: Store) -> None:
    first = claimed(tree, TRUNK)
    tree.queue.write(first, rows_at(1, 2), saved_at(2))
    expire(tree, first)

    assert set(claimed(tree, TRUNK).branch_steps) == {STEP}


def test_an_attempt_before_a_trial_began_there_does_not_count(tree: Store, trunk: Lease) -> None:
    failed = claimed(tree, LEFT, identify=around("elsewhere"))
    tree.queue.fail(failed, AttemptEnd.EXCEPTION, "boom", "")
    set_trial(tree, LEFT, not_before=None)
    plan_branch(tree, LEFT, 6, RIGHT)

    begun = tree.queue.begin(claimed(tree, LEFT))
    assert begun is not None and set(begun.branch_steps) == {6}
    tree.queue.write(begun, rows_at(4, 5), saved_at(5))
    expire(tree, begun)
    resumed = claimed(tree, LEFT)

    assert set(resumed.branch_steps) == {6}
    tree.queue.finish(resumed, rows_at(6), None, result(6))
    assert row_of(tree, LEFT).rows_digest is not None


def test_a_trunk_that_takes_steps_again_keeps_their_checkpoint_anew(tree: Store, trunk: Lease) -> None:
    """Else who begins there would have the time of one training in its rows and that of another in its state."""
    expire(tree, trunk)
    anew = claimed(tree, TRUNK, "v")
    assert (anew.step, anew.branch_steps) == (0, {STEP: HERE(anew, STEP)})

    tree.queue.keep_branches(anew, [*rows_at(1, 2, 3, 4), *elapsed_at(3)], [saved_at(STEP, "-again")])

    left = claimed(tree, LEFT)
    assert left.branch is not None and left.branch.checkpoint == saved_at(STEP, "-again")
    assert tree.queue.begin(left) is not None
    assert row_of(tree, LEFT).reused_s == 30.0


def test_nobody_is_to_begin_where_all_have_been_cancelled(tree: Store) -> None:
    for number in (1, 2):
        tree.control.cancel("s", number)

    assert claimed(tree, TRUNK).branch_steps == {}


EDITS = {
    "edited": update(metric).where(metric.c.step == 2, metric.c.name == "train/loss").values(value=0.75),
    "removed": delete(metric).where(metric.c.step == 3),
    "invalid": text("UPDATE cs_metric SET value = 'much' WHERE step = 2"),
}


@pytest.mark.parametrize("change", EDITS)
def test_a_trial_whose_trunk_has_other_rows_now_is_given_back_to_begin_at_0(tree: Store, trunk, change: str) -> None:
    if change == "invalid" and not tree._db.backend.file_based:
        pytest.skip("only an SQLite file holds any value")
    lease = claimed(tree, LEFT)
    edit(tree, EDITS[change])

    assert tree.queue.begin(lease) is None

    again = claimed(tree, LEFT)
    assert (again.branch, again.attempt, rows_of(tree, LEFT)) == (None, 2, set())
    assert [attempt.end for attempt in tree.trials.get("s", 1).attempts] == [AttemptEnd.RELEASED, None]
    assert (row_of(tree, LEFT).reused_steps, row_of(tree, LEFT).source_id) == (0, None)


def test_rows_of_timing_may_have_come_anew(tree: Store, trunk: Lease) -> None:
    edit(tree, update(metric).where(metric.c.name == ELAPSED).values(value=1.5))

    assert tree.queue.begin(claimed(tree, LEFT)) is not None


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_costs_nothing(tree: Store, monkeypatch: pytest.MonkeyPatch, happened: bool) -> None:
    trunk, rows = claimed(tree, TRUNK), [*rows_at(1, 2, 3, 4), *elapsed_at(2, 4)]
    with monkeypatch.context() as patched:
        lose_one_commit(tree, patched, happened=happened)
        assert tree.queue.keep_branches(trunk, rows, [SAVED]).branch_steps == {}
    lease = claimed(tree, LEFT)
    with monkeypatch.context() as patched:
        lose_one_commit(tree, patched, happened=happened)
        begun = tree.queue.begin(lease)

    assert begun is not None and tree.queue.write(begun, rows_at(4)).flush_seq == 2
    assert steps_of(tree, number=1) == [1, 2, 3, 4] and row_of(tree, LEFT).reused_steps == 4
    assert tree.admin.check() == []


def test_who_is_taken_over_before_its_own_checkpoint_begins_there_again(tree: Store, left: Lease) -> None:
    tree.queue.write(left, rows_at(4, 5))
    expire(tree, left)

    again = claimed(tree, LEFT)

    assert again.branch == left.branch and steps_of(tree, number=1) == []
    assert (row_of(tree, LEFT).reused_steps, row_of(tree, LEFT).reused_s) == (0, 0.0)
    assert tree.queue.begin(again) is not None
    assert (steps_of(tree, number=1), row_of(tree, LEFT).reused_steps) == ([1, 2, 3], 4)


def test_who_is_taken_over_later_goes_on_from_its_own(tree: Store, left: Lease) -> None:
    tree.queue.write(left, rows_at(4, 5, 6), saved_at(5))
    expire(tree, left)

    again = claimed(tree, LEFT)

    assert (again.step, steps_of(tree, number=1), row_of(tree, LEFT).reused_steps) == (5, [1, 2, 3, 4, 5], 4)


def test_without_any_checkpoint_nothing_is_left_of_what_it_took(tree: Store, left: Lease) -> None:
    saved = tree.queue.write(left, rows_at(4, 5), saved_at(5))

    tree.queue.rewind(saved, 0)

    assert (steps_of(tree, number=1), row_of(tree, LEFT).reused_steps) == ([], 0)


def test_whose_own_checkpoints_are_damaged_begins_there_again(tree: Store, left: Lease) -> None:
    saved = tree.queue.write(left, rows_at(4, 5), saved_at(5))

    begun = tree.queue.begin(saved)

    assert begun is not None and begun.checkpoints == ()
    assert (steps_of(tree, number=1), row_of(tree, LEFT).reused_steps) == ([1, 2, 3], 4)


@pytest.mark.parametrize(
    "write",
    [lambda store, lease: store.queue.begin(lease), lambda store, lease: store.queue.keep_branches(lease, [], [SAVED])],
    ids=["begin", "keep"],
)
def test_who_has_lost_its_lease_takes_and_keeps_nothing(
    tree: Store, trunk: Lease, write: Callable[[Store, Lease], object]
) -> None:
    zombie = claimed(tree, LEFT)
    expire(tree, zombie)
    claimed(tree, LEFT, "successor")
    before = contents(tree)

    with pytest.raises(LeaseLost):
        write(tree, zombie)

    assert contents(tree) == before


def test_a_checkpoint_is_kept_until_all_have_one_of_their_own(tree: Store, left: Lease) -> None:
    right = tree.queue.begin(claimed(tree, RIGHT))
    assert right is not None
    saved = tree.queue.write(left, rows_at(4), saved_at(4))
    assert tree.queue.free_branches() == [] and kept(tree) == [(TRUNK, STEP, SAVED.path)]

    tree.queue.write(right, rows_at(4, 5), saved_at(5))

    (freed,) = tree.queue.free_branches()
    assert (freed.source.name, freed.paths, freed.last) == ("s/0", (SAVED.path,), True)
    assert kept(tree) == [] and tree.queue.free_branches() == []
    expire(tree, saved)
    assert claimed(tree, LEFT).branch is None


def test_a_checkpoint_is_freed_where_who_waits_for_it_is_given_up(tree: Store, trunk: Lease) -> None:
    tree.control.pause("s", 1)
    tree.control.cancel("s", 2)
    assert tree.queue.free_branches() == []

    tree.control.cancel("s", 1)

    assert [freed.paths for freed in tree.queue.free_branches()] == [(SAVED.path,)]


def test_of_two_checkpoints_the_one_in_use_stays(tree: Store) -> None:
    plan_branch(tree, TRUNK, 6, RIGHT)
    saved = tree.queue.keep_branches(claimed(tree, TRUNK), rows_at(1, 2, 3), [SAVED])
    assert set(saved.branch_steps) == {6}
    tree.control.cancel("s", 1)

    (freed,) = tree.queue.free_branches()

    assert (freed.paths, freed.last) == ((SAVED.path,), False) and kept(tree) == [(TRUNK, 6, None)]


def test_a_checkpoint_that_came_too_late_is_not_recorded(tree: Store) -> None:
    lease = claimed(tree, TRUNK)
    for number in (1, 2):
        tree.control.cancel("s", number)
    tree.queue.free_branches()

    after = tree.queue.keep_branches(lease, rows_at(1, 2, 3), [SAVED])

    assert set(after.branch_steps) == {STEP} and kept(tree) == []
    assert tree.trials.get("s", 0).state is TrialState.LEASED and steps_of(tree) == [1, 2, 3]


def test_a_row_of_a_branch_that_nobody_can_read_costs_only_the_reuse(tree: Store, trunk: Lease) -> None:
    if not tree._db.backend.file_based:
        pytest.skip("only an SQLite file holds any value")
    edit(tree, text("UPDATE cs_branch SET bytes = 'many'"))

    assert claimed(tree, LEFT).branch is None
