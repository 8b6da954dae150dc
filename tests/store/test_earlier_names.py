"""A study whose cells an earlier version named keeps their names, whatever its file is created with later."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from scenes import contents, must_claim, result
from support.earlier import by_an_earlier_version

from cifarsweep.errors import StudyExists
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study
from cifarsweep.store import Store
from cifarsweep.store.records import Created
from cifarsweep.worker.search import SearchClient

CROSSED = """
name = "tried"
question = "Which one?"
seeds = {seeds}
[settings]
dataset = "digits"
epochs = {epochs}
[factors]
"optimizer.name" = {optimizers}
"optimizer.lr" = [0.1, 0.01]
[[hypotheses]]
kind = "greater"
claim = "AdamW is above"
a = "name=adamw, lr=0.1"
b = "optimizer=sgd, lr=0.1"
[[reported]]
cell = "name=adamw, lr=0.1"
metric = "val/accuracy"
value = 0.9
[reported_runs]
study = "theirs"
runs = {{ "name=adamw, lr=0.1" = "a" }}
"""
SEARCH = """
name = "tried"
question = "Which one?"
[settings]
dataset = "digits"
epochs = 1
[search]
sampler = "random"
n_trials = {n_trials}
[search.space]
"optimizer.lr" = {{ low = 1e-4, high = 1.0, log = true }}
"optimizer.name" = {{ choices = ["adamw", "sgd"] }}
"""
CELLS = ["name=adamw, lr=0.1", "name=adamw, lr=0.01", "name=sgd, lr=0.1", "name=sgd, lr=0.01"]
Read = Callable[..., Study]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A study of that text, as this version reads it."""

    def _read(text: str, **changes: object) -> Study:
        path = tmp_path / "tried.toml"
        path.write_text(text.format(**({"seeds": 2, "epochs": 1, "optimizers": '["adamw", "sgd"]'} | changes)))
        return read_study(path)

    return _read


@pytest.fixture
def old_store(store: Store, read: Read) -> Store:
    """A database with the study as an earlier version stored it, and one trial that is done."""
    store.studies.create(by_an_earlier_version(read(CROSSED)))
    store.queue.finish(must_claim(store), [], None, result())
    return store


def names(store: Store) -> list[str]:
    return [cell.name for cell in store.studies.get("tried").spec.cells]


def test_creating_it_again_changes_nothing(old_store: Store, read: Read) -> None:
    before = contents(old_store)

    again = [old_store.studies.create(read(CROSSED), extend=extend) for extend in (False, True)]

    assert again == [Created(1, 0, 8)] * 2
    assert contents(old_store) == before


def test_more_seeds_and_levels_double_nothing_and_are_named_alike(old_store: Store, read: Read) -> None:
    more = read(CROSSED, seeds=3, optimizers='["adamw", "sgd", "adam"]')

    created = old_store.studies.create(more, extend=True)

    assert (created.added, created.existing) == (2 * 3 + 4, 8)
    assert names(old_store) == [*CELLS, "name=adam, lr=0.1", "name=adam, lr=0.01"]
    rows = old_store.trials.all("tried")
    assert len({(row.cell, row.seed) for row in rows}) == len(rows) == 18
    assert [row.value for row in rows[:2]] == [0.5, None]
    assert {row.cell for row in rows} == set(names(old_store))
    assert old_store.studies.create(more) == Created(1, 0, 18)


def test_more_seeds_of_the_stored_study_are_named_alike(old_store: Store) -> None:
    spec = old_store.studies.get("tried").spec

    old_store.studies.create(spec.model_copy(update={"seeds": (0, 1, 2)}), extend=True)

    assert names(old_store) == CELLS


@pytest.mark.parametrize("extend", [False, True])
def test_a_changed_file_is_refused_with_what_changed_beside_the_names(
    old_store: Store, read: Read, extend: bool
) -> None:
    before = contents(old_store)

    with pytest.raises(StudyExists) as refused:
        old_store.studies.create(read(CROSSED, epochs=2), extend=extend)

    lines = str(refused.value).splitlines()[1:]
    assert lines == ["epochs: 1 -> 2 in all 4 cells"]
    assert not re.search("optimizer=", str(refused.value))
    assert contents(old_store) == before


def test_a_hypothesis_on_another_cell_is_a_change_in_the_names_of_the_study(old_store: Store, read: Read) -> None:
    changed = CROSSED.replace("optimizer=sgd, lr=0.1", "optimizer=sgd, lr=0.01")

    with pytest.raises(StudyExists) as refused:
        old_store.studies.create(read(changed))

    assert str(refused.value).splitlines()[1:] == ['hypothesis 1: b: "name=sgd, lr=0.1" -> "name=sgd, lr=0.01"']


def test_another_study_of_the_database_has_the_names_of_this_version(old_store: Store, read: Read) -> None:
    spec = read(CROSSED.replace('name = "tried"', 'name = "new"', 1))

    old_store.studies.create(spec)

    assert old_store.studies.get("new").spec == spec
    assert {row.cell.partition("=")[0] for row in old_store.trials.all("new")} == {"optimizer"}


@pytest.mark.parametrize("word", ["name", "optimizer"])
def test_new_points_of_a_search_are_named_as_it_was_stored(store: Store, read: Read, word: str) -> None:
    few, more = (read(SEARCH, n_trials=count) for count in (2, 3))
    store.studies.create(by_an_earlier_version(few) if word == "name" else few)
    stored = store.studies.get("tried").spec

    again = store.studies.create(few)
    created = store.studies.create(more, extend=True)
    client = SearchClient(store)
    while client.add_next_point(["tried"]):
        pass

    assert (again.added, created.added) == (0, 1)
    assert store.studies.get("tried").spec.cells == stored.cells
    points = [row.cell for row in store.trials.all("tried")]
    assert len(points) == 3 and all(f"{word}=" in point for point in points)
