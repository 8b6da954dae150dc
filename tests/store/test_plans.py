"""What new trials take from others is planned when they are added, and stored with them."""

from functools import partial

import pytest
from scenes import contents, must_claim, result, set_trial
from sqlalchemy import insert, select, update

from cifarsweep.spec.links import Candidate, Link, Plan
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store
from cifarsweep.store.records import Environment, FinishedRun
from cifarsweep.store.schema import attempt, branch, trial
from cifarsweep.training.sharing import TrainingImages, plan

#: Four steps an epoch.
PLANNER = partial(plan, images=lambda settings: TrainingImages(512, "d1"))
CURVES = {
    "constant": Schedule(),
    "late": Schedule(phases=("3-4 x0.5",)),
    "early": Schedule(phases=("1-2 x0.5",)),
    "cosine": Schedule(name="cosine"),
}


def study(*cells: str, name: str = "s", seeds: int = 1) -> Study:
    made = tuple(
        Cell(
            name=cell,
            levels={"n": number},
            settings=Settings(dataset="digits", epochs=4, schedule=CURVES[cell]),
        )
        for number, cell in enumerate(cells)
    )
    return Study(
        name=name, question="?", factors={"n": tuple(range(len(cells)))}, cells=made, seeds=tuple(range(seeds))
    )


def links(store: Store) -> dict[int, tuple[object, ...]]:
    columns = (trial.c.trial_id, trial.c.source_id, trial.c.branch_step, trial.c.waits, trial.c.waiting_steps)
    return store._db.read(lambda conn: {row[0]: tuple(row[1:]) for row in conn.execute(select(*columns))})


def branches(store: Store) -> list[tuple[int, int, str | None]]:
    query = select(branch.c.trial_id, branch.c.step, branch.c.path).order_by(branch.c.trial_id, branch.c.step)
    return store._db.read(lambda conn: [tuple(row) for row in conn.execute(query)])


def finish(store: Store, *, identity: str | None = "i", data: str = "d1") -> int:
    """Claim and finish the next trial, and say that it is reusable if it has an identity."""
    environment = Environment({"digits": data}, "a processor", {"torch": "2.15"})
    lease = store.queue.claim("w", environment=environment)
    assert lease is not None
    store.queue.finish(lease, [], None, result(16))
    its = attempt.c.trial_id == lease.trial_id
    store._db.write(lambda conn: conn.execute(update(attempt).where(its).values(identity=identity)))
    set_trial(store, lease.trial_id, rows_digest="r")
    return lease.trial_id


def test_links_states_and_what_waits_are_stored(store: Store) -> None:
    created = store.studies.create(study("constant", "late", "early", "cosine", seeds=2), planner=PLANNER)

    new = links(store)
    by_cell = {(row.settings.schedule, row.seed): row.trial_id for row in created.new}
    trunk, late, early, cosine = (by_cell[schedule, 1] for schedule in CURVES.values())
    assert new[trunk] == (None, None, False, 15)
    assert new[late] == (trunk, 12, True, 0)
    assert new[early] == (trunk, 4, True, 0)
    assert new[cosine] == (trunk, 1, True, 0)
    assert [row for row in branches(store) if row[0] == trunk] == [(trunk, step, None) for step in (1, 4, 12)]
    assert created.plan.links == tuple(Link(one, *new[one][:2], new[one][1]) for one in new if new[one][0])
    assert len(created.new) == created.added == 8 and store.admin.check() == []


def test_nothing_is_planned_without_a_planner_or_for_nothing_new(store: Store) -> None:
    store.studies.create(study("constant", "late"))
    before = contents(store)

    again = store.studies.create(study("constant", "late"), planner=PLANNER)

    assert contents(store) == before and again.plan == Plan()
    assert set(links(store).values()) == {(None, None, False, 0)} and branches(store) == []


def test_later_trials_go_on_from_those_of_another_study(store: Store) -> None:
    (first,) = store.studies.create(study("constant", name="a"), planner=PLANNER).new

    second = store.studies.create(study("late", "constant", name="b"), planner=PLANNER)
    (late,), (twin,) = (
        [row.trial_id for row in second.new if row.settings.schedule == CURVES[c]] for c in ("late", "constant")
    )

    assert links(store) == {
        first.trial_id: (None, None, False, 4),
        late: (first.trial_id, 12, True, 0),
        twin: (first.trial_id, None, True, 0),
    }


def test_added_seeds_are_planned_too(store: Store) -> None:
    store.studies.create(study("constant", "late"))

    added = store.studies.add_seeds("s", [("constant", 7), ("late", 7)], planner=PLANNER)

    (link,) = added.plan.links
    assert link.branch_step == 12 and links(store)[link.trial_id] == (link.source_id, 12, True, 0)
    assert {row.seed for row in added.new} == {7}


def test_extending_leaves_the_links_of_before(store: Store) -> None:
    store.studies.create(study("constant", "late"), planner=PLANNER)
    before = links(store)

    store.studies.create(study("constant", "late", "early"), extend=True, planner=PLANNER)

    after = links(store)
    assert {one: after[one][:3] for one in before} == {one: before[one][:3] for one in before}
    (new,) = after.keys() - before.keys()
    assert after[new] == (min(before), 4, True, 0) and after[min(before)][3] == 12


def test_a_running_trial_is_asked_for_nothing_new(store: Store) -> None:
    store.studies.create(study("constant"), planner=PLANNER)
    lease = must_claim(store)

    created = store.studies.create(study("late", name="b"), planner=PLANNER)

    assert created.plan == Plan() and branches(store) == []
    assert lease.trial_id in links(store)


def test_one_that_is_known_need_not_wait(store: Store) -> None:
    store.studies.create(study("constant", name="a"), planner=PLANNER)
    done = finish(store)

    created = store.studies.create(study("constant", "late", name="b"), planner=PLANNER)

    (known,) = created.plan.known
    (late,) = {row.trial_id for row in created.new} - {known}
    assert created.plan.known == {known: done}
    assert links(store)[known] == (late, 12, False, 0)


def test_what_is_known_is_not_left_before_anybody_claims_it(store: Store) -> None:
    # given a trial that is done
    store.studies.create(study("constant", name="a"), planner=PLANNER)
    done = finish(store)

    # when others of the same training are created: without and with a branch to begin at, without a plan, of two seeds
    created = store.studies.create(study("constant", name="b"), planner=PLANNER)
    store.studies.create(study("constant", "late", name="c"), planner=PLANNER)
    store.studies.create(study("constant", name="d"))
    store.studies.create(study("constant", name="e", seeds=2), planner=PLANNER)

    # then each is linked, and counts as one that trains nothing
    assert links(store)[created.new[0].trial_id] == (done, None, False, 0) and store.admin.check() == []
    counts = {one.study: (one.waiting_twins, one.waiting_branches) for one in store.studies.status()}
    assert counts == {"a": (0, 0), "b": (1, 0), "c": (1, 0), "d": (1, 0), "e": (1, 0)}

    # when one of them was claimed and given back, then nobody took what was known, and it is left
    lease = store.queue.claim("w", studies=["b"])
    assert lease is not None
    store.queue.release(lease, [], None)
    (released,) = store.studies.status("b")
    assert released.waiting_twins == 0


@pytest.mark.parametrize("how", ["no identity", "no digest", "another identity before", "pruned"])
def test_a_result_that_nobody_can_take_is_lost(store: Store, how: str) -> None:
    store.studies.create(study("constant", name="a"), planner=PLANNER)
    done = finish(store, identity=None if how == "no identity" else "i")
    if how == "no digest":
        set_trial(store, done, rows_digest=None)
    elif how == "pruned":
        set_trial(store, done, outcome="pruned")
    elif how == "another identity before":
        row = {"trial_id": done, "attempt": 0, "worker_id": "w", "first_step": 0, "identity": "j"}
        started = select(attempt.c.started_at).scalar_subquery()
        store._db.write(lambda conn: conn.execute(insert(attempt).values(row | {"started_at": started})))

    created = store.studies.create(study("constant", name="b"), planner=PLANNER)

    assert created.plan == Plan(lost=() if how == "pruned" else (created.new[0].trial_id,))


def test_results_on_other_images_are_none(store: Store) -> None:
    store.studies.create(study("constant", name="a"), planner=PLANNER)
    finish(store, data="d2")

    assert store.studies.create(study("constant", name="b"), planner=PLANNER).plan == Plan()


def test_a_study_of_logs_and_one_that_can_not_be_read_give_nothing(store: Store) -> None:
    cell = Cell(name="c", levels={"n": 0}, settings=None)
    logs = study("constant", name="logs").model_copy(update={"cells": (cell,), "imported": True})
    store.studies.add_finished(logs, [FinishedRun("c", 0, (MetricRow(VAL_ACCURACY, 1, 0.5),))])
    store.studies.create(study("constant", name="a"), planner=PLANNER)
    set_trial(store, max(links(store)), step=-3)

    created = store.studies.create(study("constant", name="b"), planner=PLANNER)

    assert created.added == 1 and created.plan == Plan()


def test_rates_are_computed_before_the_transaction(store: Store) -> None:
    asked: list[list[Candidate]] = []

    def planner(candidates: list[Candidate]) -> Plan:
        asked.append(sorted(candidates, key=lambda one: abs(one.trial_id)))
        return Plan()

    store.studies.create(study("constant", "late"), planner=planner)

    first, second = asked
    assert [(one.settings, one.seed, one.state) for one in first] == [(o.settings, o.seed, o.state) for o in second]
