"""Trials of a user's own program: parameters in the place of settings, and a metric of the study's own."""

from __future__ import annotations

import optuna
import pytest
from scenes import must_claim, rows_at, saved_at
from sqlalchemy import update

from cifarsweep.errors import StoreError, UnreadableStudy
from cifarsweep.spec.links import Plan
from cifarsweep.spec.program import Parameters, Program, ProgramFile
from cifarsweep.spec.search_reader import point_cell
from cifarsweep.spec.search_space import Choices, Range, Search
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.cached import CachedStore
from cifarsweep.store.records import Environment
from cifarsweep.store.schema import study as study_table
from cifarsweep.store.url import parse_url
from cifarsweep.worker.search import SearchClient

PROGRAM = Program(
    command=("python", "train.py", "--lr", "{lr}"),
    files=(ProgramFile(path="train.py", sha256="0" * 64),),
    metric="loss",
)
PARAMETERS = {"width": 64, "lr": 0.1, "wide": True, "loss.kind": "mse"}


def make_program_study(**changes: object) -> Study:
    """Two rates and two seeds."""
    cells = tuple(
        Cell(name=f"lr={lr}", levels={"lr": lr}, settings=None, parameters=PARAMETERS | {"lr": lr})
        for lr in (0.1, 0.01)
    )
    fields = {"name": "own", "question": "Which rate?", "factors": {"lr": (0.1, 0.01)}, "cells": cells, "seeds": (0, 1)}
    return Study.model_validate({**fields, "program": PROGRAM, **changes})


def test_a_lease_has_parameters_the_digest_of_the_program_and_its_metric(store: Store) -> None:
    store.studies.create(make_program_study())
    lease = must_claim(store)
    assert lease.settings == Parameters.of(PARAMETERS)
    assert (lease.program, lease.metric, lease.dataset, lease.data_sha256) == (PROGRAM.sha256, "loss", None, None)


def test_it_has_no_identity_and_no_images(store: Store) -> None:
    """Given a worker that knows the identity of every trial, when it claims one of a program, then it asks for none."""
    store.studies.create(make_program_study())
    mine = Environment(data={}, device="gpu", versions={"program git": "abc"})
    lease = store.queue.claim(
        "w", studies=["own"], environment=mine, identify=lambda lease, steps: pytest.fail("asked")
    )
    assert lease is not None and lease.identity is None and lease.twin is None
    row = store.trials.get("own", lease.number)
    assert (row.attempts[0].device, row.attempts[0].versions) == ("gpu", {"program git": "abc"})


def test_its_value_is_that_of_the_metric(store: Store) -> None:
    store.studies.create(make_program_study())
    lease = store.queue.write(must_claim(store), rows_at(1), saved_at(1))
    store.queue.finish(lease, (), None, TrialResult(Outcome.FINISHED, 1, {"loss": 0.25, "val/accuracy": 0.9}, ""))
    row = store.trials.get("own", lease.number)
    assert (row.value, row.final["loss"]) == (0.25, 0.25)
    assert (row.own_settings, row.parameters) == (None, dict(sorted(PARAMETERS.items())))
    with pytest.raises(StoreError, match="is of a program, which has parameters and no settings"):
        _ = row.settings


def test_what_is_remarked_at_its_end_stands_with_the_attempt_and_is_no_failure(store: Store, url: str) -> None:
    store.studies.create(make_program_study())
    lease = must_claim(store)
    store.queue.finish(lease, (), None, TrialResult(Outcome.FINISHED, 1, {"loss": 0.25}, "", remark="left 2 processes"))
    row = store.trials.get("own", lease.number)
    assert (row.state, row.error) == (TrialState.DONE, "left 2 processes")
    with CachedStore.open(url, read_only=True) as watched:
        assert list(watched.snapshot().errors) == []


def test_the_same_cell_is_found_again_in_any_order_of_its_parameters(store: Store) -> None:
    """Given a stored study, when its text is read and one more seed added, then no cell is stored twice."""
    store.studies.create(make_program_study())
    stored = store.studies.get("own").spec
    assert stored == make_program_study() and stored.sha256 == make_program_study().sha256
    created = store.studies.create(stored.model_copy(update={"seeds": (0, 1, 2)}), extend=True)
    assert (created.added, created.existing) == (2, 4)


def test_nothing_is_planned_for_it(store: Store) -> None:
    store.studies.create(
        make_program_study(), planner=lambda candidates: Plan() if not candidates else pytest.fail("asked")
    )
    assert store.trials.times() == []


def test_parameters_without_a_program_can_t_be_read(store: Store) -> None:
    """Given a study whose program was edited away, when a worker claims, then it says so and passes on."""
    spec = make_program_study()
    store.studies.create(spec)
    text = spec.canonical().replace(PROGRAM.sha256, "")
    with store._db.engine.begin() as conn:
        conn.execute(update(study_table).values(spec=text.replace('"program"', '"programme"')))
    assert store.queue.claim("w") is None
    with pytest.raises(UnreadableStudy):
        store.studies.get("own")


def test_optuna_sees_parameters_and_less_of_a_loss_as_better(url: str, store: Store) -> None:
    store.studies.create(make_program_study())
    lease = must_claim(store)
    store.queue.finish(lease, [MetricRow("loss", 1, 0.5)], None, TrialResult(Outcome.FINISHED, 1, {"loss": 0.25}, ""))
    assert store.sync_optuna() == 1
    storage = optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))
    found = optuna.load_study(study_name="own", storage=storage)
    assert found.direction == optuna.study.StudyDirection.MINIMIZE
    assert (found.best_params, found.best_value) == ({"lr": 0.1}, 0.25)
    assert found.trials[0].intermediate_values == {1: 0.5}
    storage.scoped_session.remove()
    storage.engine.dispose()


def test_a_search_asks_for_points_of_parameters_and_goes_down_for_a_loss(store: Store) -> None:
    """Given a loss that is least at a rate of 0.5, when a search is done, then its best point is near it."""
    space = {"lr": Range(low=0.0, high=1.0), "kind": Choices(choices=("mse", "l1"))}
    search = Search(n_trials=25, space=space, fixed={"width": 64})
    store.studies.create(
        make_program_study(
            search=search, factors={}, cells=(point_cell(search, {"lr": 0.0, "kind": "l1"}, "", free=True),)
        )
    )
    client = SearchClient(store)
    for _ in range(25):
        assert client.add_next_point(["own"])
        lease = must_claim(store)
        assert isinstance(lease.settings, Parameters) and lease.settings.parameters["width"] == 64
        lr = lease.settings.parameters["lr"]
        assert isinstance(lr, float)
        store.queue.finish(lease, (), None, TrialResult(Outcome.FINISHED, 1, {"loss": abs(lr - 0.5)}, ""))
    losses = [row.value for row in store.trials.all("own") if row.value is not None]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_a_trial_with_more_loss_than_the_others_is_pruned(store: Store) -> None:
    search = Search(n_trials=9, pruner="median", space={"lr": Range(low=0.0, high=1.0)})
    store.studies.create(
        make_program_study(search=search, factors={}, cells=(point_cell(search, {"lr": 0.0}, "", free=True),))
    )
    client = SearchClient(store)
    for loss in (5.0, 5.0, 5.0, 5.0, 5.0, 9.0, 1.0):
        client.add_next_point(["own"])
        lease = must_claim(store)
        decide = client.pruning_decider(lease)
        for step in (1, 2, 3):
            decide.observe(step, loss / step)
        pruned = decide(3)
        rows = [MetricRow("loss", step, loss / step) for step in (1, 2, 3)]
        store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 3, {"loss": loss / 3}, ""))
        assert pruned == (loss == 9.0)


def test_a_running_trial_is_told_with_the_newest_value_of_its_metric(url: str, store: Store) -> None:
    store.studies.create(make_program_study())
    store.queue.write(must_claim(store), [MetricRow("loss", step, 1 / step) for step in (1, 2, 4)])
    with CachedStore.open(url, read_only=True) as watched:
        (running,) = watched.snapshot().running.values()
    assert (running.metric, running.newest) == ("loss", {"loss": 0.25})


def test_a_trial_that_begins_again_at_0_forgets_its_rows_of_step_0_too(store: Store) -> None:
    """A program may measure before it trains. With a checkpoint its rows up to there stay."""
    store.studies.create(make_program_study())
    rows = [MetricRow("loss", step, 1.0) for step in (0, 1, 2)]
    store.queue.release(must_claim(store), rows, None)

    again = must_claim(store)
    assert again.attempt == 2
    assert store.metrics.read("own", ["loss"], only=[again.number]) == {}

    store.queue.release(again, rows, saved_at(1))
    third = must_claim(store)
    assert list(store.metrics.read("own", ["loss"], only=[third.number])[third.number, "loss"][0]) == [0, 1]
    store.queue.rewind(third, 0)
    assert store.metrics.read("own", ["loss"], only=[third.number]) == {}
