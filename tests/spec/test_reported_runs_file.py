"""Runs of another study that stand for cells, in study files."""

from typing import Any

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.reported_runs import ReportedRuns
from cifarsweep.spec.study import Study, dangling
from cifarsweep.spec.study_diff import check_extends, difference
from cifarsweep.spec.writer import study_toml

BASE = """
name = "tiny"
question = "Which rate?"
[settings]
dataset = "digits"
epochs = 20
[[arms]]
name = "slow"
set = { "optimizer.lr" = 1e-4 }
[[arms]]
name = "fast"
set = { "optimizer.lr" = 1e-3 }
"""


def with_runs(runs: str = '{ slow = "a", fast = ["b", "c"] }', more: str = 'study = "backbone"') -> str:
    return f"{BASE}[reported_runs]\n{more}\nruns = {runs}\n"


def test_a_cell_has_a_run_or_a_list_of_them(write: Any) -> None:
    given = read_study(write(with_runs())).reported_runs

    assert given == ReportedRuns(study="backbone", runs={"slow": ("a",), "fast": ("b", "c")})


BAD = {
    "unknown cell": (with_runs('{ slo = "a" }'), "runs: there is no cell 'slo'. Did you mean 'slow'? The cells are:"),
    "no run": (with_runs("{ slow = [] }"), "reported_runs.runs.slow: must not be empty"),
    "no cell": (with_runs("{}"), "reported_runs.runs: must not be empty"),
    "twice": (with_runs('{ slow = ["a", "a"] }'), "reported_runs.runs: 'slow' names a run twice; name each once"),
    "a number": (with_runs("{ slow = 3 }"), "reported_runs.runs.slow: must be a list, not 3"),
    "no study": (with_runs(more=""), "reported_runs.study: is missing"),
    "itself": (with_runs(more='study = "tiny"'), "reported_runs.study: 'tiny' is this study"),
    "unknown key": (with_runs(more='study = "b"\nbye = "step"'), "reported_runs.bye: unknown key. Did you mean 'by'?"),
    "unknown axis": (with_runs(more='study = "b"\nby = "time"'), "by: 'time' is unknown. Allowed: step, epoch."),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_sentence(write: Any, text: str, says: str) -> None:
    path = write(text)

    with pytest.raises(SpecError) as caught:
        read_study(path)

    assert says in str(caught.value) and str(caught.value).startswith(f"{path}: reported_runs")
    assert "\n" not in str(caught.value)


def test_a_study_without_them_keeps_its_hash_and_with_them_reads_back_equal(write: Any, tmp_path: Any) -> None:
    with_them = read_study(write(with_runs()))
    (tmp_path / "again.toml").write_text(study_toml(with_them))

    assert "reported_runs" not in read_study(write(BASE)).canonical()
    assert Study.from_canonical(with_them.canonical()) == with_them
    assert read_study(tmp_path / "again.toml").sha256 == with_them.sha256


def test_extending_may_add_them(write: Any) -> None:
    old, new = read_study(write(BASE)), read_study(write(with_runs()))

    check_extends(old, new)
    assert 'reported_runs.study: none -> "backbone"' in difference(old, new)


def test_stored_runs_of_no_cell_are_named(write: Any) -> None:
    study = read_study(write(with_runs()))
    lost = study.model_copy(update={"cells": study.cells[1:]})

    assert dangling(study) is None and dangling(lost) == "reported_runs: there is no cell 'slow'"


def test_runs_of_a_cell_that_an_override_merges_are_left_out(write: Any) -> None:
    notes: list[str] = []

    study = read_study(write(with_runs()), overrides={"optimizer.lr": 0.1}, note=notes.append)

    assert study.reported_runs == ReportedRuns(study="backbone", runs={"slow": ("a",)})
    assert "the reported runs of 'fast' are left out: with --set its cell is merged" in notes
