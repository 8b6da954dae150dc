"""What the row of a trial opens: the settings of its cell, its last metrics, its attempts."""

from dataclasses import replace
from typing import Any

import numpy as np

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import render_study
from cifarsweep.report.trial_details import details_of, metric_text


def test_a_trial_tells_the_settings_in_which_cells_differ_and_its_last_metrics(make: Any) -> None:
    report = make.finished(make.study({"optimizer.lr": (0.1, 0.03)}))
    last = {"train/loss": 0.25, "val/accuracy": 0.87654, "params": 1e6, "elapsed_s": 9.0, "memory_bytes": 2.5e9}
    trial = replace(report.trials[0], final=last)

    told = details_of(report)(trial)

    assert told["settings"] == [("optimizer.lr", "0.1")]
    assert told["last"] == [
        ("Validation accuracy", "87.65\u202f%"), ("Training loss", "0.25"), ("Memory", "2.5\u202fGB"),
    ]  # fmt: skip


def test_a_trial_on_its_way_tells_its_newest_values(make: Any) -> None:
    report = make.finished(make.study({}))
    trial = replace(report.trials[0], state="leased", outcome=None, final={})
    series = {(trial.number, "train/loss"): (np.array([1, 2]), np.array([2.0, 1.5]))}

    told = details_of(replace(report, trials=(trial, *report.trials[1:]), series=series))(trial)

    assert told == {"settings": [], "last": [("Training loss", "1.5")]}


def test_a_point_of_a_search_that_is_no_cell_of_the_page_tells_its_levels(make: Any) -> None:
    trial = make.trial(0, "lr=0.5", 0, levels={"optimizer.lr": 0.5}, final={})

    assert details_of(make.report(make.study(), [trial]))(trial)["settings"] == [("optimizer.lr", "0.5")]


def test_values_have_their_units() -> None:
    assert metric_text(75.0, "elapsed_s") == "1\u202fmin 15\u202fs"
    assert metric_text(6000.0, "energy_j") == "6\u202fkJ"
    assert metric_text(3.8e12, "flops") == "3.8\u202fT"
    assert metric_text(0.27, "gpu/utilisation") == "27\u202f%"


def test_every_trial_has_a_row_that_opens_and_trouble_is_told_before(make: Any) -> None:
    fine = make.trial(0, "base", 0)
    broken = make.trial(1, "base", 1, state="failed", outcome=None, final={}, error="RuntimeError: boom")

    page = render_study(analyse(make.report(make.study({}, seeds=2), [fine, broken])))

    assert '<tr class="more quiet" id="more-0">' in page and "<summary>Details of trial 0</summary>" in page
    assert '<tr class="more" id="more-1">' in page and "Error and attempts of trial 1: <code>RuntimeError: boom" in page
