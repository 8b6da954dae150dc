"""Trials of a user's own program: parameters in the place of settings, and a metric of the study's own."""

from __future__ import annotations

import pytest
from scenes import must_claim, rows_at, saved_at
from sqlalchemy import update

from cifarsweep.errors import StoreError, UnreadableStudy
from cifarsweep.spec.links import Plan
from cifarsweep.spec.program import Parameters, Program, ProgramFile
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import Environment
from cifarsweep.store.schema import study as study_table

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
