"""Before anything has run: the chance of a verdict on each kind of hypothesis, and the spread it is told for."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cifarsweep.analysis.planning import COMMON_SD, Spread, chances, expected_spread, look_chances
from cifarsweep.spec.metrics import LARGEST_CLASS, VAL_ACCURACY, VAL_IMAGES
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.types import MetricRow, Outcome
from cifarsweep.store import Store
from cifarsweep.store.records import FinishedRun

FILE = """
name = "rates"
question = "Which rate?"
seeds = 5
[settings]
dataset = "cifar10"
epochs = 10
[factors]
"optimizer.lr" = [0.1, 0.05, 0.01]
"model.skip" = [false, true]
"""
CLAIMS = {
    "greater": 'a = { "optimizer.lr" = 0.1 }\nb = { "optimizer.lr" = 0.05 }\nmargin = 0.01',
    "not_worse": 'a = { "optimizer.lr" = 0.1 }\nb = { "optimizer.lr" = 0.05 }\nmargin = 0.01',
    "equivalent": 'a = { "optimizer.lr" = 0.1 }\nb = { "optimizer.lr" = 0.05 }\nmargin = 0.01',
    "at_chance": 'a = { "optimizer.lr" = 0.1 }',
    "reaches": 'a = { "optimizer.lr" = 0.1 }\ntarget = 0.9',
    "best": 'factor = "optimizer.lr"\nlevel = 0.1',
    "trend": 'factor = "optimizer.lr"\ndirection = "falling"',
}


@pytest.fixture
def read(tmp_path: Path):
    def call(*hypotheses: str, head: str = "", dataset: str = "cifar10"):
        path = tmp_path / "study.toml"
        path.write_text(
            head + FILE.replace("cifar10", dataset) + "".join(f"[[hypotheses]]\n{one}\n" for one in hypotheses)
        )
        return read_study(path)

    return call


def claim(kind: str) -> str:
    return f'kind = "{kind}"\nclaim = "So it is"\n{CLAIMS[kind]}'


@pytest.mark.parametrize("kind", CLAIMS)
def test_the_chance_rises_with_the_distance_and_falls_with_spread_and_hypotheses(read, kind):
    (one,) = chances(read(claim(kind)), COMMON_SD)
    (wider,) = chances(read(claim(kind)), 2 * COMMON_SD)
    twice = chances(read(claim(kind), claim(kind)), COMMON_SD)[0]
    others = (f"{claim('reaches')}\nmargin = 0.0{margin}" for margin in (3, 4))
    many = chances(read(claim(kind), *others), COMMON_SD)[0]

    assert 0 < one.at[0] < one.at[1] <= one.at[2] <= 1
    assert all(less < more for less, more in zip(wider.at[:2], one.at[:2], strict=True))
    assert many.at[0] < one.at[0] == twice.at[0]


@pytest.mark.parametrize(("dataset", "images"), [("digits", 144), ("cifar10", 5000)])
def test_cells_at_chance_vary_at_least_as_guesses_do(read, dataset, images):
    study = read(claim("at_chance"), dataset=dataset)

    assert chances(study, 1e-6) == chances(study, (0.1 * 0.9 / images) ** 0.5)
    assert chances(study, 1e-6) != chances(study, 2 * (0.1 * 0.9 / images) ** 0.5)


def test_planned_looks_share_the_five_per_cent(read):
    study = read(claim("greater"), claim("reaches"))

    for plans in ((), ((5, 10, 20),)):
        first, last = look_chances(study, COMMON_SD, plans)

        assert (first.seeds, first.level) == (5, pytest.approx(0.0125))
        assert (last.seeds, last.level) == (20, pytest.approx(0.025))
        assert first.chances == chances(study, COMMON_SD, 5, 0.0125) != chances(study, COMMON_SD)
        assert first.ends[0] < first.ends[1] < last.ends[0]


def test_a_study_of_one_seed_is_told_of_looks_that_can_decide(read):
    study = read(claim("greater")).model_copy(update={"seeds": (0,)})

    assert [look.seeds for look in look_chances(study, COMMON_SD)] == [3, 12]


@pytest.mark.parametrize(("plans", "seeds"), [(((3, 6, 12),), 3), (((8, 16),), 8)])
def test_seeds_between_two_looks_are_for_the_one_before_them(read, plans, seeds):
    first, _ = look_chances(read(claim("greater")), COMMON_SD, plans)

    assert first.seeds == seeds


def test_nothing_is_told_of_losses_and_times(read):
    faster = (
        'kind = "faster"\nclaim = "Sooner"\na = { "optimizer.lr" = 0.1 }\nb = { "optimizer.lr" = 0.05 }\ntarget = 0.5'
    )
    loss = claim("greater") + '\nmetric = "val/loss"'

    assert [one.at for one in chances(read(faster, loss), COMMON_SD)] == [(), ()]
    assert [look.ends for look in look_chances(read(faster, loss), COMMON_SD)] == [None, None]


def test_the_spread_of_the_file_wins(read, tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/a.db", upgrade=True) as store:
        assert expected_spread(read(head="expected_sd = 0.02\n"), store) == Spread(0.02, stated=True)
        assert expected_spread(read(), store) == Spread(COMMON_SD)


def test_similar_studies_tell_the_spread_by_their_runs_that_trained(read, tmp_path):
    study = read()
    earlier = study.model_copy(update={"name": "earlier"})
    longer = study.model_copy(
        update={
            "name": "longer",
            "cells": tuple(
                cell.model_copy(update={"own_settings": cell.settings.model_copy(update={"epochs": 100})})
                for cell in study.cells
            ),
        }
    )
    values = {0: 0.80, 1: 0.82, 2: 0.78, 3: 0.1}  # the last one guesses
    with Store.open(f"sqlite:///{tmp_path}/a.db", upgrade=True) as store:
        for spec, factor in ((earlier, 1.0), (longer, 0.5)):
            runs = [finished(cell.name, seed, factor * at) for cell in spec.cells for seed, at in values.items()]
            store.studies.add_finished(spec, runs)

        found = expected_spread(study, store)

    assert found == Spread(pytest.approx(0.02), ("earlier",))


def test_a_study_with_a_damaged_trial_tells_no_spread(read, tmp_path):
    study = read()
    runs = [finished(cell.name, seed, 0.8 + seed / 100) for cell in study.cells for seed in range(3)]
    with Store.open(f"sqlite:///{tmp_path}/a.db", upgrade=True) as store:
        store.studies.add_finished(study.model_copy(update={"name": "earlier"}), runs)
        assert expected_spread(study, store).studies == ("earlier",)
        with closing(sqlite3.connect(tmp_path / "a.db")) as file, file:
            file.execute("UPDATE cs_trial SET final = '{' WHERE number = 0")

        assert expected_spread(study, store) == Spread(COMMON_SD)


def finished(cell: str, seed: int, accuracy: float) -> FinishedRun:
    final = {VAL_ACCURACY: accuracy, VAL_IMAGES: 1000.0, LARGEST_CLASS: 100.0}
    return FinishedRun(cell, seed, (MetricRow(VAL_ACCURACY, 1, accuracy),), outcome=Outcome.FINISHED, final=final)
