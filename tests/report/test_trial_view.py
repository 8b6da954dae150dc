"""The table of trials, and how to make them again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import render_study
from cifarsweep.report.reproduce import commands, environment_numbers
from cifarsweep.report.trials_section import SPARK_HEIGHT, SPARK_WIDTH, differing_settings, overhead_s, trials_view


def test_overhead_s_training_is_that_of_all_attempts(make: Any) -> None:
    lost = make.attempt(1, end="taken_over")  # 14 s
    trial = make.trial(0, "base", 0, elapsed_s=12.5, attempts=(lost, make.attempt(2)))

    assert overhead_s(trial) == pytest.approx(15.5)
    assert overhead_s(replace(trial, elapsed_s=60.0)) == 0
    assert overhead_s(replace(trial, attempts=(make.attempt(1, ended=None),))) is None
    assert overhead_s(replace(trial, state="leased")) is None


def test_every_curve_stays_in_its_frame_and_gaps_are_left_out(make: Any) -> None:
    study = make.study({}, seeds=3)
    steps = np.arange(1, 201)
    wild = np.where(steps % 7 == 0, np.nan, np.sin(steps))
    series = {(0, "val/accuracy"): (steps, wild), (1, "val/accuracy"): (steps[:90], np.full(90, 0.5))}
    trials = [make.trial(number, "base", number) for number in range(3)]

    view = trials_view(make.report(study, trials, series), {}, trials)

    first, second, none = (row["spark"] for row in view["rows"])
    points = [tuple(map(float, pair.split())) for pair in first[1:].split("L")]
    assert len(points) <= 36 and all(0 <= x <= SPARK_WIDTH and 0 <= y <= SPARK_HEIGHT for x, y in points)
    assert float(second[1:].split("L")[-1].split()[0]) < SPARK_WIDTH / 2  # ended before the others
    assert none is None and view["curves"] == "Validation accuracy"


def test_the_table_of_settings_has_what_differs_and_no_more(make: Any) -> None:
    table = differing_settings(make.report(make.study(), []))

    assert table["keys"] == ["model.skip", "optimizer.lr"]
    assert table["rows"][0] == ("lr=0.003, skip=no", ["no", "0.003"])
    assert differing_settings(make.report(make.study({}), []))["keys"] == []


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


def test_a_failed_trial_is_linked_with_its_error(make: Any) -> None:
    failed = make.trial(7, "base", 0, state="failed", outcome=None, final={}, error="RuntimeError: boom")

    html = render_study(analyse(make.report(make.study({}, seeds=1), [failed])))

    assert '<a href="#trial-7">1 failed</a>' in html and 'id="trial-7"' in html
    assert '<a href="#error-7">failed</a>' in html and 'id="error-7"' in html


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


def test_time_is_told_in_the_page(make: Any) -> None:
    attempts = (make.attempt(1, ended=make.attempt(1).started + timedelta(seconds=73)),)

    html = render_study(analyse(make.report(make.study({}, seeds=1), [make.trial(0, "base", 0, attempts=attempts)])))

    assert "1\u202fmin 00\u202fs" in html  # 73 s - 12.5 s
