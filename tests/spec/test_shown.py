"""Messages show values in the words of TOML, in which the file was written."""

from datetime import date
from pathlib import Path

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.shown import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (None, "'none'"),
        ((32, 64), "[32, 64]"),
        ([True, "a"], "[true, 'a']"),
        ({"model.skip": True, "lr": 0.1}, '{ "model.skip" = true, lr = 0.1 }'),
        ({}, "{}"),
        (1e-05, "1e-05"),
        (float("inf"), "inf"),
        (date(2026, 11, 30), "2026-11-30"),
        ("x" * 300, "'" + "x" * 196 + "..."),
    ],
)
def test_a_value_is_shown_as_toml(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("seeds = true", "seeds: must be .*, not true$"),
        ("seeds = [0, true]", r"seeds: must be .*, not \[0, true\]$"),
        ("[settings]\nepochs = true", "epochs: must be a whole number, not true$"),
        ("[factors]\n'model.skip' = true", "factors.model.skip: must be a list of levels, not true$"),
        (
            "[factors]\n'model.skip' = [true, false]\n[[exclude]]\n'model.skip' = 1",
            r"exclude 1: 1 is no level of model.skip: \[true, false\]$",
        ),
        (
            "[factors]\n'model.skip' = [true, false]\n[[hypotheses]]\nkind = 'greater'\nclaim = 'x'\n"
            "a = { 'optimizer.lr' = true }\nb = { 'model.skip' = false }",
            r'a = \{ "optimizer.lr" = true \} selects no cell',
        ),
        ("[search]\nn_trials = 3\nspace = [true]", r"search.space: must be .*, not \[true\]$"),
        ("[search]\nn_trials = 3\n[search.space]\n'model.skip' = true", "search.space.model.skip: .*, not true$"),
        (
            "[search]\nn_trials = 3\n[search.space]\n'optimizer.lr' = { low = true, high = 1.0 }",
            "low: must be .*, not true$",
        ),
    ],
)
def test_a_refusal_shows_what_the_file_says(tmp_path: Path, lines: str, sentence: str) -> None:
    file = tmp_path / "one.toml"
    rest = "" if "[settings]" in lines else "[settings]\nepochs = 1\n"
    file.write_text(f"name = 'one'\nquestion = 'q'\n{lines}\n{rest}")

    with pytest.raises(SpecError, match=sentence):
        read_study(file)
