"""How levels are written: numbers to the last digit, and `none` for a setting that is not set."""

import math
from pathlib import Path

import hypothesis.strategies as st
import optuna
import pytest
from hypothesis import given

from cifarsweep.spec.levels import level_text
from cifarsweep.spec.overrides import parse_overrides
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.writer import study_toml
from cifarsweep.store.optuna_view.parameters import Parameters

FILE = """
name = "clipped"
question = "Does clipping help?"
seeds = 3
[settings]
dataset = "digits"
epochs = 1
"""
FACTOR = (
    FILE
    + """
[factors]
"optimizer.clip" = ["none", 0.5, 1]
"model.norm" = ["none", "batch"]
[[exclude]]
"optimizer.clip" = "none"
"model.norm" = "batch"
[[hypotheses]]
kind = "best"
claim = "No clipping is best"
factor = "optimizer.clip"
level = "none"
[[hypotheses]]
kind = "greater"
claim = "Clipping hurts"
a = { "optimizer.clip" = "none" }
b = { "optimizer.clip" = 1 }
"""
)
ARMS = (
    FILE
    + """
[factors]
"optimizer.clip" = [1.0]
[[arms]]
name = "free"
set = { "optimizer.clip" = "none", "eval_every" = "none" }
[[arms]]
name = "often"
set = { "eval_every" = 5 }
"""
)


def read(folder: Path, text: str, *overrides: str) -> Study:
    (folder / "clipped.toml").write_text(text)
    return read_study(folder / "clipped.toml", overrides=parse_overrides(overrides))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_named_so_that_reading_gives_it_back(value: float) -> None:
    assert float(level_text(value)) == value
    assert math.copysign(1, float(level_text(value))) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9999999, "0.9999999"), (1.0, "1"), (3e-4, "0.0003"), (1e-5, "1e-05"), (0.1 + 0.2, "0.30000000000000004"),
     (None, "none"), ("none", "none"), (True, "yes"), (1, "1"), ((32, 0.5), "32-0.5")],
)  # fmt: skip
def test_a_level_is_written_as_short_as_it_can_be(value: object, text: str) -> None:
    assert level_text(value) == text  # type: ignore[arg-type]


def test_levels_that_differ_late_are_two_cells(tmp_path: Path) -> None:
    study = read(tmp_path, FILE + "[factors]\n'optimizer.beta2' = [0.999999, 0.9999999, 0.99999999]")

    assert [cell.name for cell in study.cells] == ["beta2=0.999999", "beta2=0.9999999", "beta2=0.99999999"]


def test_none_is_a_level_of_a_setting_that_may_be_left_out(tmp_path: Path) -> None:
    study = read(tmp_path, FACTOR)

    assert study.factors == {"optimizer.clip": (None, 0.5, 1.0), "model.norm": ("none", "batch")}
    names = ["clip=none, norm=none", "clip=0.5, norm=none", "clip=0.5, norm=batch", "clip=1, norm=none"]
    assert [cell.name for cell in study.cells] == [*names, "clip=1, norm=batch"]
    assert [cell.settings.optimizer.clip for cell in study.cells] == [None, 0.5, 0.5, 1.0, 1.0]
    assert study.hypotheses[0].level is None and study.hypotheses[1].a == {"optimizer.clip": None}  # type: ignore[union-attr]


@pytest.mark.parametrize("text", [FACTOR, ARMS], ids=["factors", "arms"])
def test_a_study_with_none_is_written_as_it_is_read(tmp_path: Path, text: str) -> None:
    study = read(tmp_path, text)

    assert Study.from_canonical(study.canonical()) == study
    assert read(tmp_path, study_toml(study)).sha256 == study.sha256


def test_none_is_set_on_the_command_line(tmp_path: Path) -> None:
    text = FILE.replace("epochs = 1", "epochs = 1\noptimizer = { clip = 1.0 }")

    assert read(tmp_path, text).cells[0].settings.optimizer.clip == 1.0
    assert read(tmp_path, text, "optimizer.clip=none").cells[0].settings.optimizer.clip is None


def test_optuna_knows_none_from_numbers(tmp_path: Path) -> None:
    study = read(tmp_path, FACTOR)
    parameters = Parameters.of(study)
    choices = parameters.distributions(optuna)["optimizer.clip"].choices

    assert choices == (None, "0.5", "1")
    assert [parameters.encode(cell.levels)["optimizer.clip"] for cell in study.cells] == [None, "0.5", "0.5", "1", "1"]


def test_a_search_may_choose_none(tmp_path: Path) -> None:
    space = "[search]\nn_trials = 2\nspace = { 'optimizer.clip' = { choices = ['none', 1.0] } }"

    study = read(tmp_path, FILE + space)

    assert [cell.name for cell in study.cells] == ["clip=none", "clip=1"]
    assert read(tmp_path, study_toml(study)).sha256 == study.sha256
