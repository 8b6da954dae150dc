"""The plan of shared steps: what it links has equal rates, in no circle, and each step is trained once."""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from stripes import TINY

from cifarsweep.spec.links import Candidate, Link, Plan
from cifarsweep.spec.settings import EarlyStop, Optimizer, Schedule, Settings
from cifarsweep.training.identity import rates, rows_identity
from cifarsweep.training.sharing import TrainingImages, plan

IMAGES = 32
#: Two steps an epoch, and an evaluation at each of them, so that each shared step is worth a branch.
SHORT = TINY.model_copy(update={"epochs": 4, "eval_every": 1, "optimizer": Optimizer(lr=0.1)})
CURVES = [
    Schedule(),
    Schedule(name="cosine"),
    Schedule(phases=("1-2 x5",)),
    Schedule(phases=("1-2 x5", "2-3 x2")),
    Schedule(phases=("2-3 x0.5",)),
    Schedule(phases=("3-4 x0.5",)),
    Schedule(name="step", milestones=(0.5,)),
]


def planned(candidates):
    return plan(candidates, lambda settings: TrainingImages(IMAGES, "d1"))


def trial(number, state="new", seed=0, **changes):
    about = {key: changes.pop(key) for key in ("step", "source_id", "branch_step", "branches") if key in changes}
    return Candidate(number, SHORT.model_copy(update=changes), seed, state, **about)


def total(one):
    return len(rates(one.settings, IMAGES))


CELLS = st.builds(
    lambda schedule, epochs, log_every, lr: {
        "schedule": schedule,
        "epochs": epochs,
        "log_every": log_every,
        "optimizer": Optimizer(lr=lr),
    },
    st.sampled_from(CURVES),
    st.integers(4, 7),
    st.sampled_from([4, 4, 4, 3]),
    st.sampled_from([0.1, 0.1, 0.1, 0.5]),
)
NEW = st.lists(st.tuples(CELLS, st.integers(0, 1)), min_size=1, max_size=12).map(
    lambda drawn: [trial(number, seed=seed, **cell) for number, (cell, seed) in enumerate(drawn, start=100)]
)
STATES = st.sampled_from(["queued", "leased", "done"])
BEFORE = st.lists(
    st.tuples(CELLS, st.integers(0, 1), STATES, st.integers(0, 8), st.frozensets(st.integers(1, 8))), max_size=6
).map(
    lambda drawn: [
        trial(number, state, seed=seed, step=step if state != "done" else 0, branches=branches, **cell)
        for number, (cell, seed, state, step, branches) in enumerate(drawn)
    ]
)


@hypothesis_settings(max_examples=150)
@given(NEW)
def test_each_step_of_new_trials_is_trained_once(trials):
    found = planned(trials)
    prefixes = {
        (rows_identity(one.settings, one.seed, IMAGES, "d", {}, step))
        for one in trials
        for step in range(1, total(one) + 1)
    }
    assert sum(map(total, trials)) - sum(link.steps for link in found.links) == len(prefixes)


@hypothesis_settings(max_examples=150)
@given(BEFORE, NEW)
def test_what_a_trial_takes_is_there_when_it_begins(before, new):
    found = planned([*before, *new])
    by_id = {one.trial_id: one for one in [*before, *new]}
    links = {link.trial_id: link for link in found.links}
    assert len(links) == len(found.links) and not links.keys() & {one.trial_id for one in before}
    for link in found.links:
        one, source = by_id[link.trial_id], by_id[link.source_id]
        whole = link.branch_step is None
        assert link.steps == (total(one) if whole else link.branch_step) > 0

        def identity(of, whole=whole, steps=link.steps):
            return rows_identity(of.settings, of.seed, IMAGES, "d", {}, None if whole else steps)

        assert identity(one) == identity(source)
        if whole:
            assert source.state != "done"
            assert source.trial_id not in links or links[source.trial_id].branch_step is not None
        elif link.steps not in source.branches:
            assert source.state in ("new", "queued")
            own = links[source.trial_id].steps if source.trial_id in links else source.step
            assert link.steps > own
    for trial_id in links:
        seen = set()
        while trial_id in links:
            assert trial_id not in seen
            seen.add(trial_id)
            trial_id = links[trial_id].source_id


@hypothesis_settings(max_examples=100)
@given(NEW)
def test_the_longest_path_that_waits_is_told(trials):
    found = planned(trials)
    children = defaultdict(list)
    for link in found.links:
        if link.branch_step is not None:
            children[link.source_id].append((link.trial_id, link.branch_step))
    totals = {one.trial_id: total(one) for one in trials}

    def end(trial_id):
        return max([totals[trial_id], *(end(child) for child, _ in children.get(trial_id, []))])

    longest = {one: max([1, *(end(child) - step for child, step in below)]) for one, below in list(children.items())}
    assert found.waiting_steps == longest


def test_equal_trials_take_all_from_the_first_of_them():
    found = planned([trial(1), trial(2, log_every=3), trial(3), trial(4, seed=1), trial(5)])
    assert found.links == (Link(3, 1, None, 8), Link(5, 1, None, 8))
    assert found.waiting_steps == {}


def test_a_shorter_training_takes_its_last_state_from_a_longer_one():
    found = planned([trial(1, epochs=2), trial(2, epochs=4)])
    assert found.links == (Link(1, 2, 4, 4),)
    assert found.waiting_steps == {2: 1}  # it has only its last evaluation to do


def test_a_longer_training_goes_on_from_a_shorter_one_that_is_queued():
    found = planned([trial(1, "queued", epochs=2), trial(2, epochs=4)])
    assert found == Plan((Link(2, 1, 4, 4),), {1: 4}, {})


def test_a_running_trial_gives_only_the_states_that_it_knows_of():
    changed = {"schedule": Schedule(phases=("2-3 x0.5",))}
    assert planned([trial(1, "leased"), trial(2, **changed)]).links == ()
    assert planned([trial(1, "leased", branches=frozenset({3})), trial(2, **changed)]).links == (Link(2, 1, 3, 3),)
    assert planned([trial(1, "leased"), trial(2)]).links == (Link(2, 1, None, 8),)


def test_a_done_trial_gives_the_states_that_are_kept_and_is_known():
    changed = {"schedule": Schedule(phases=("2-3 x0.5",))}
    done = trial(1, "done", branches=frozenset({4}))
    assert planned([done, trial(2), trial(3, **changed)]) == Plan((Link(2, 1, 4, 4), Link(3, 1, 4, 4)), {}, {2: 1})


def test_steps_of_a_done_trial_that_kept_no_state_are_told():
    changed = {"schedule": Schedule(phases=("2-3 x0.5",))}
    shared = planned([trial(1, "queued"), trial(2, **changed)]).links[0].steps
    done = trial(1, "done")
    assert planned([done, trial(2, **changed)]) == Plan(missed={2: shared})
    assert planned([done, trial(2, epochs=6)]) == Plan(missed={2: 8})
    # What others on their way give, or an earlier state of the done one, is not trained again.
    assert planned([replace(done, branches=frozenset({shared - 1})), trial(2, **changed)]).missed == {2: 1}
    assert planned([done, trial(4, "queued", **changed), trial(5, **changed)]).missed == {}


def test_a_done_trial_that_is_not_reusable_is_told():
    done = replace(trial(1, "done", branches=frozenset({4})), reusable=False)
    assert planned([done, trial(2), trial(3, log_every=3)]) == Plan(lost=(2,))
    assert planned([done, trial(2, "done"), trial(3)]) == Plan(known={3: 2})


def test_a_trial_on_other_images_gives_nothing():
    other = [replace(trial(number, state), data="d2") for number, state in enumerate(("done", "queued"))]
    assert planned([*other, trial(2)]) == Plan()
    assert planned([replace(other[0], data="d1"), trial(2)]).known == {2: 0}
    assert plan([*other, trial(2)], lambda settings: TrainingImages(IMAGES)).known == {2: 0}  # the images are not here


def test_nobody_waits_for_a_state_of_a_trial_that_is_known():
    changed = {"schedule": Schedule(phases=("2-3 x0.5",))}
    found = planned([trial(1, "done"), trial(2, "queued"), trial(3), trial(4, **changed)])
    assert found.links == (Link(3, 2, None, 8),)
    assert found.known == {3: 1}
    assert planned([trial(1, "done"), trial(2), trial(3, **changed)]).links == (Link(2, 3, 4, 4),)


def test_a_trial_that_has_a_link_keeps_it_and_gives_what_comes_after():
    other, later = {"schedule": Schedule(phases=("2-3 x0.5",))}, {"schedule": Schedule(phases=("2-3 x0.5", "3-4 x2"))}
    there = [trial(1, "queued"), trial(2, "queued", source_id=1, branch_step=4, **other)]
    assert planned([*there, trial(3, **later)]) == Plan((Link(3, 2, 6, 6),), {1: 4, 2: 2}, {})
    early = {"schedule": Schedule(phases=("1-2 x0.5",))}
    assert planned([*there, trial(3, **early)]).links == (Link(3, 1, 2, 2),)


def test_a_branch_that_saves_next_to_nothing_is_not_planned():
    steps = {"epochs": None, "steps": 400, "eval_every": 10, "schedule": Schedule(name="step", milestones=(0.005,))}
    other = steps | {"schedule": Schedule(name="step", milestones=(0.0075,))}
    assert planned([trial(1, **steps), trial(2, **other)]).links == ()
    assert planned([trial(1, **steps | {"eval_every": 2}), trial(2, **other | {"eval_every": 2})]).links


@pytest.mark.parametrize(
    "changes", [{"determinism": "fast"}, {"batch_size": 64}, {"schedule": Schedule(warmup_epochs=0, warmup_steps=9)}]
)
def test_what_does_not_repeat_or_can_not_train_is_left_out(changes):
    assert planned([trial(1, **changes), trial(2, **changes)]) == Plan()


def test_nothing_is_planned_where_the_number_of_images_is_unknown():
    assert plan([trial(1), trial(2)], lambda settings: None) == Plan()


def test_an_early_stop_is_shared_only_with_the_same_rule():
    stop = {"early_stop": EarlyStop(patience=1)}
    assert planned([trial(1, **stop), trial(2, epochs=7, **stop), trial(3)]).links == (Link(1, 2, 8, 8),)


def test_a_circle_of_an_edited_database_ends_nowhere():
    there = [trial(n, "queued", source_id=3 - n, branch_step=4) for n in (1, 2)]
    assert planned([*there, replace(there[0], trial_id=3, state="new", source_id=None)]).links


def test_a_large_search_is_planned_at_once():
    """Rates that differ at once are not computed to the end."""
    cells = [
        Settings(epochs=300, schedule=Schedule(name="cosine"), optimizer=Optimizer(lr=0.1 + n)) for n in range(300)
    ]
    trials = [Candidate(n, cell, seed, "new") for n, (cell, seed) in enumerate((c, s) for c in cells for s in (0, 1))]
    assert plan(trials, lambda settings: TrainingImages(50_000)) == Plan()
