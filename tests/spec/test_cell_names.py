"""Names of cells call a factor as a page does, and cells of studies of earlier versions keep theirs."""

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from support.earlier import by_an_earlier_version

from cifarsweep.errors import SpecError
from cifarsweep.spec.cell_names import is_named_as_before, named_as, other_names, respelled
from cifarsweep.spec.levels import cell_name, short_keys, shown_keys
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.study_diff import as_stored, check_extends, difference
from cifarsweep.spec.writer import study_toml

BASE = 'name = "tried"\nquestion = "Which one?"\nseeds = 2\n[settings]\ndataset = "digits"\nepochs = 9\n'
CROSSED = BASE + '[factors]\n"optimizer.name" = ["adamw", "sgd"]\n"optimizer.lr" = [0.1, 0.01]\n'
ABOVE = '[[hypotheses]]\nkind = "greater"\nclaim = "above"\na = "{}"\nb = "{}"\n'
REPORTED = '[[reported]]\ncell = "{}"\nmetric = "val/accuracy"\nvalue = 0.9\n'
RUNS = '[reported_runs]\nstudy = "theirs"\nruns = {{ "{}" = "a", "{}" = "b" }}\n'
NOW = ["optimizer=adamw, lr=0.1", "optimizer=sgd, lr=0.1"]
BEFORE = ["name=adamw, lr=0.1", "name=sgd, lr=0.1"]


def naming(*names: str) -> str:
    """A file whose hypothesis, reported number and runs name two cells."""
    return CROSSED + ABOVE.format(*names) + REPORTED.format(names[0]) + RUNS.format(*names)


def names(study: Study) -> list[str]:
    return [cell.name for cell in study.cells]


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ('"optimizer.name" = ["sgd"]\n"optimizer.lr" = [1e-3]', "optimizer=sgd, lr=0.001"),
        ('"model.name" = ["resnet18"]\n"schedule.name" = ["cosine"]', "model=resnet18, schedule=cosine"),
        ('"loss.name" = ["cross_entropy"]\n"batch_size" = [8]', "loss=cross_entropy, batch_size=8"),
    ],
)
def test_a_new_cell_is_named_by_the_words_of_the_page(write: Any, factors: str, expected: str) -> None:
    assert names(read_study(write(f"{BASE}[factors]\n{factors}\n"))) == [expected]


def test_points_of_a_search_and_cells_of_a_program_are_named_so_too(write: Any, tmp_path: Path) -> None:
    space = '[search]\nn_trials = 2\n[search.space]\n"optimizer.name" = { choices = ["sgd", "adamw"] }\n'
    (tmp_path / "train.py").touch()
    program = (
        'name = "own"\nquestion = "?"\n[program]\ncommand = ["python", "train.py", "{seed}", "{optimizer.name}"]\n'
        'files = ["train.py"]\n[factors]\n"optimizer.name" = ["a, b", "c"]\n"optimizer" = [1]\n"model.name" = ["x"]\n'
    )

    assert names(read_study(write(BASE + space))) == ["optimizer=sgd", "optimizer=adamw"]
    # Where two keys would have one word, each is said in full, as before.
    assert names(read_study(write(program))) == [
        f"optimizer.name={text}, optimizer=1, model=x" for text in ("a, b", "c")
    ]


def test_a_file_may_name_a_cell_as_earlier_versions_did(write: Any) -> None:
    now, before = (read_study(write(naming(*called))) for called in (NOW, BEFORE))

    assert before == now and before.sha256 == now.sha256
    assert before.hypotheses[0].a == before.reported[0].cell == NOW[0]  # type: ignore[union-attr]
    assert before.reported_runs is not None and list(before.reported_runs.runs) == NOW


def test_a_name_of_no_cell_is_refused_as_it_is_written(write: Any) -> None:
    says = f"hypothesis 1: a = 'name=adam, lr=0.1' selects no cell; the cells are: {NOW[0]}"

    with pytest.raises(SpecError, match=re.escape(says)):
        read_study(write(CROSSED + ABOVE.format("name=adam, lr=0.1", BEFORE[1])))


def test_runs_of_one_cell_by_two_names_are_refused(write: Any) -> None:
    with pytest.raises(SpecError, match=f"reported_runs.runs: '{NOW[0]}' and '{BEFORE[0]}' are one cell; name it once"):
        read_study(write(CROSSED + RUNS.format(NOW[0], BEFORE[0])))


def test_an_arm_with_the_name_of_a_cell_leaves_the_cells_the_names_of_earlier_versions(write: Any) -> None:
    """Such a file made a study, and makes the same one."""
    arm = f'[[arms]]\nname = "{NOW[0]}"\nset = {{ "optimizer.lr" = 0.5 }}\n'

    study = read_study(write(CROSSED + arm + ABOVE.format(NOW[0], BEFORE[0])))

    assert names(study)[0] == BEFORE[0] and names(study)[-1] == NOW[0]
    assert (study.hypotheses[0].a, study.hypotheses[0].b) == (NOW[0], BEFORE[0])  # type: ignore[union-attr]
    assert read_study(write(study_toml(study))).sha256 == study.sha256


def test_an_arm_is_not_named_as_earlier_versions_name_another_cell(write: Any) -> None:
    arm = f'[[arms]]\nname = "{BEFORE[0]}"\nset = {{ "optimizer.lr" = 0.5 }}\n'

    with pytest.raises(SpecError, match=f"arm '{BEFORE[0]}': earlier versions call the cell '{NOW[0]}' so; rename"):
        read_study(write(CROSSED + arm))


def test_a_stored_study_of_an_earlier_version_has_its_order_and_its_text(write: Any) -> None:
    now = read_study(write(naming(*NOW)))
    before = by_an_earlier_version(now)

    again = read_study(write(study_toml(before)))

    assert list(before.factors) == ["optimizer.name", "optimizer.lr"] and names(before)[:1] == BEFORE[:1]
    assert is_named_as_before(before) and not is_named_as_before(now)
    assert again == now and "arms" not in study_toml(before)


def test_a_file_is_compared_with_its_study_of_an_earlier_version_by_the_names_of_that(write: Any) -> None:
    now = read_study(write(naming(*NOW)))
    before = by_an_earlier_version(now)

    assert difference(before, now) != ""
    assert named_as(now, before) == before and named_as(now, before).sha256 == before.sha256
    assert named_as(now, now) == now and named_as(before, before) == before


def test_more_levels_are_named_as_the_cells_that_are_there(write: Any) -> None:
    before = by_an_earlier_version(read_study(write(naming(*NOW))))
    more = read_study(write(naming(*NOW).replace('"sgd"]', '"sgd", "adam"]')))

    kept = as_stored(more, before)

    assert names(kept)[-2:] == ["name=adam, lr=0.1", "name=adam, lr=0.01"]
    check_extends(before, kept)
    assert difference(before, kept).splitlines() == [
        'factors.optimizer.name: ["adamw", "sgd"] -> ["adamw", "sgd", "adam"]',
        "2 cells new: 'name=adam, lr=0.1', 'name=adam, lr=0.01'",
    ]


def test_two_cells_that_would_have_one_name_are_refused(write: Any) -> None:
    now, other = read_study(write(CROSSED)), read_study(write(BASE))
    arm = other.cells[0].model_copy(update={"name": BEFORE[0]})

    with pytest.raises(SpecError, match=f"tried: two cells are named '{BEFORE[0]}'"):
        named_as(now.model_copy(update={"cells": (*now.cells, arm)}), by_an_earlier_version(now))


def test_what_else_a_cell_is_called_is_its_name_in_the_other_words(write: Any) -> None:
    now = read_study(write(CROSSED))
    before = by_an_earlier_version(now)

    assert other_names(now) == dict(zip(names(now), names(before), strict=True))
    assert other_names(before) == dict(zip(names(before), names(now), strict=True))
    assert other_names(read_study(write(BASE + "[factors]\nbatch_size = [8, 9]\n"))) == {}


KEYS = st.lists(
    st.sampled_from(["optimizer.name", "model.name", "lr", "a.lr", "name", "optimizer", "a.name", "model.skip"]),
    min_size=1,
    unique=True,
)
TEXTS = st.text(st.characters(blacklist_characters=","), max_size=8)
LEVELS = st.one_of(
    TEXTS, st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False), st.lists(TEXTS).map(tuple)
)


@given(KEYS, st.data())
def test_a_name_in_other_words_is_the_name_of_the_same_levels(keys: list[str], data: st.DataObject) -> None:
    levels = {key: data.draw(LEVELS) for key in keys}
    now, before = cell_name(levels, keys), cell_name(levels, keys, as_before=True)
    words = shown_keys(keys), short_keys(keys)

    assert respelled(now, *words) == before and respelled(before, *reversed(words)) == now


@pytest.mark.parametrize("name", ["", "base", "optimizer=sgd", "lr=1, optimizer=sgd", "an optimizer=sgd, lr=1"])
def test_a_name_that_is_not_made_of_all_factors_in_order_has_no_other_words(name: str) -> None:
    keys = ["optimizer.name", "optimizer.lr"]

    assert respelled(name, shown_keys(keys), short_keys(keys)) is None
    assert respelled(name, {}, {}) is None
