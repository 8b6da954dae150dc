"""A page tells which commit wrote it, in which environments trials ran, and how to repeat them."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report import reproduce
from cifarsweep.report.render import render_study
from cifarsweep.report.reproduce import commands, environment_numbers, reproduce_view
from cifarsweep.spec.code import Code
from cifarsweep.spec.program import ProgramFile
from cifarsweep.spec.settings import Metrics, OwnModel


@pytest.fixture
def fresh() -> Any:
    reproduce.code_version.cache_clear()
    yield reproduce.code_version
    reproduce.code_version.cache_clear()


def test_a_page_says_which_commit_wrote_it(make: Any, fresh: Any, tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "cifarsweep" / "report"
    package.mkdir(parents=True)
    monkeypatch.setattr(reproduce, "__file__", str(package / "reproduce.py"))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.test"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Begin"], check=True)
    said = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout

    assert f"commit {said[:12]}" in render_study(analyse(make.finished(make.study(seeds=1))))


def test_a_page_is_written_where_there_is_no_git(fresh: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reproduce, "__file__", str(tmp_path / "a" / "b" / "reproduce.py"))
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))

    assert fresh().startswith("cifarsweep 0.")


def test_trials_of_different_versions_point_to_their_environment(make: Any) -> None:
    study = make.study({}, seeds=3)
    trials = [make.trial(number, "base", number) for number in range(3)]
    trials[1] = replace(trials[1], versions={"torch": "2.14.0", "data digits": "feed"})
    report = make.report(study, trials)

    html = render_study(analyse(report))

    assert environment_numbers(report) == {0: (1,), 1: (2,), 2: (1,)}
    assert 'href="#environment-2"' in html and 'id="environment-2"' in html
    assert "torch 2.14.0: 1 trial" in html and "feed" not in html.split('id="again"')[1]


def test_a_trial_that_was_continued_with_something_else_has_all_of_it_and_no_promise(make: Any) -> None:
    study = make.study({}, seeds=3)
    first = make.attempt(1, device="A100", first_step=0, versions={"torch": "2.14.0"}, end="taken_over")
    second = make.attempt(2, device="H100", first_step=40, versions={"torch": "2.15.0"})
    lost = replace(first, first_step=40)
    attempts = [(first, second), (lost, replace(second, first_step=0)), (first, second)]
    trials = [make.trial(number, "base", number, attempts=each) for number, each in enumerate(attempts)]
    report = make.report(study, trials)

    html = render_study(analyse(report))

    assert environment_numbers(report) == {0: (2, 1), 1: (1,), 2: (2, 1)}
    assert "torch 2.15.0: 3 trials" in html and "torch 2.14.0: 2 trials" in html
    assert "2 trials were continued with something else than before (trials 0, 2): " in html
    assert "device A100, then H100; torch 2.14.0, then 2.15.0. The same bits are not promised for them" in html
    assert html.count("A100, then H100</bdi>") == 2
    assert "cifarsweep replay tried/1    # does this trial come out the same, bit for bit?" in html
    alone = make.report(make.study({}, seeds=1), trials[:1])
    assert list(commands(alone))[-1].endswith("tried/0    # how near does this trial come, which changed on its way?")


def test_images_that_differ_are_part_of_what_trials_ran_with(make: Any) -> None:
    versions = [{"torch": "2", "data digits": digest * 64} for digest in "aab"]
    trials = [make.trial(number, "base", number, versions=each) for number, each in enumerate(versions)]

    html = render_study(analyse(make.report(make.study({}, seeds=3), trials)))

    assert f"data digits {'a' * 64}, torch 2: 2 trials" in html and f"data digits {'b' * 64}, torch 2: 1 trial" in html
    assert "Images of digits" in html


def test_commands_name_the_images_the_device_and_a_trial_to_check(make: Any) -> None:
    on_gpu = make.trial(3, "base", 0, versions={"torch": "2.15.0", "cuda": "13.0"})
    report = make.report(make.study({}, seeds=1), [on_gpu])

    lines = list(commands(replace(report, plans=((3, 6),))))

    extend = "cifarsweep extend tried --until-decided --max-seeds 6"
    assert [line.partition("    #")[0] for line in lines[:4]] == [
        "cifarsweep create tried.toml", extend, "cifarsweep worker --study tried --gpu 0", extend,
    ]  # fmt: skip
    assert lines[-1].startswith("cifarsweep replay tried/3 ")


@pytest.mark.parametrize(
    ("dataset", "line"),
    [("cifar100", "cifarsweep data download cifar100"), ("my-own", "cifarsweep data import my-own FOLDER")],
)
def test_commands_begin_with_the_images(make: Any, dataset: str, line: str) -> None:
    study = make.study({})
    cell = study.cells[0]
    cell = cell.model_copy(update={"own_settings": cell.settings.model_copy(update={"dataset": dataset})})

    lines = list(commands(make.report(study.model_copy(update={"cells": (cell,)}), [])))

    assert lines == [
        line,
        "cifarsweep create tried.toml",
        "cifarsweep worker --study tried --cpu",
        "cifarsweep report tried",
    ]


def test_commands_and_page_name_the_code_of_the_user(make: Any) -> None:
    study = make.study({})
    code = Code(files=(ProgramFile(path="nets.py", sha256="a" * 64),))
    package = f"wide-nets 1.2 {'b' * 64}"
    measured = Metrics(own=("wide-nets:f",), code=package)
    parts = {"model": OwnModel(name="nets:Wide", code=code.sha256), "metrics": measured}
    cell = study.cells[0]
    cell = cell.model_copy(update={"own_settings": cell.settings.model_copy(update=parts)})
    report = make.report(study.model_copy(update={"cells": (cell,), "code": code}), [make.trial(0, cell.name, 0)])

    lines = list(commands(report))

    assert "cifarsweep worker --study tried --cpu --code . --code wide-nets" in lines
    assert any(line.startswith("cifarsweep replay tried/0 --code . --code wide-nets") for line in lines)
    assert reproduce_view(report)["own_code"] == [f"nets.py {'a' * 64}", package]
