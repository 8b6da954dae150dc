"""The sections of a page: tables of two factors, the search, resources."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from everything import everything

from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.study import analyse
from cifarsweep.report.notes import evaluation_notes
from cifarsweep.report.render import render_study
from cifarsweep.report.sections import HEIGHT, WIDTH, resource_table, search_view
from cifarsweep.spec.search_space import Choices, Range, Search

SPACE = {
    "optimizer.lr": Range(low=1e-4, high=1.0, log=True),
    "model.norm": Choices(choices=("batch", "layer")),
}


def levels(cell):
    return {**cell.levels, "model.norm": "batch"}


@pytest.fixture
def searched(make):
    study = make.study({"optimizer.lr": (1e-4, 1e-2, 1.0)}, seeds=1)
    study = study.model_copy(update={"factors": {}, "search": Search(n_trials=9, pruner="median", space=SPACE)})
    ends = zip(study.cells, (0.5, 0.9, 0.1), ("finished", "finished", "pruned"), strict=True)
    trials = [
        make.trial(number, cell.name, 0, levels=levels(cell), final={"val/accuracy": accuracy}, outcome=outcome)
        for number, (cell, accuracy, outcome) in enumerate(ends)
    ]
    return make.report(study, trials)


def test_points_stand_where_their_values_are(searched):
    rate, norm = search_view(searched)["plots"]

    assert [point["x"] for point in rate["points"]] == [6.0, WIDTH / 2, WIDTH - 6.0]
    assert [point["y"] for point in rate["points"]] == [HEIGHT / 2, 6.0, HEIGHT - 6.0]
    assert {point["x"] for point in norm["points"]} == {58.0}
    assert [point["pruned"] for point in rate["points"]] == [False, False, True]


def test_the_page_says_what_one_seed_tells_and_what_was_pruned(searched):
    page = render_study(analyse(searched))

    assert "One seed for each point says little" in page
    assert "1 trial fell behind the others and was ended early (median)" in page
    assert "3 of 9 points were chosen by TPE" in page
    assert '<span class="state pruned">pruned</span>' in page


def test_its_figure_has_a_number_ticks_and_says_what_a_cross_is(searched):
    rate, norm = search_view(searched)["plots"]

    assert (rate["ticks"], norm["ticks"]) == (["0.0001", "0.01", "1"], ["batch", "layer"])
    page = render_study(analyse(searched))
    assert "<b>Figure 1.</b> Every point that was tried" in page and "A cross is a trial that was ended early" in page


def test_what_was_pruned_is_in_no_mean(searched):
    pruned = searched.trials[2]

    assert pruned.done and pruned.accuracy is None


def test_every_point_looked_at_the_test_set_and_was_chosen_by_it(searched):
    """Two of the three have no line of their own, and no curve."""
    shown = searched.study.model_copy(update={"cells": searched.study.cells[1:2]})
    curve = {(1, "val/accuracy"): (np.arange(1, 11), np.full(10, 0.9))}

    notes = " ".join(evaluation_notes(replace(searched, study=shown, series=curve, evaluations={0: 10, 2: 4})))

    assert "looked at 24 times in 3 trials, at most 10 times in one. The test set chose the points" in notes


def test_a_study_that_compares_has_no_such_section(make):
    assert search_view(make.finished(make.study())) is None


def test_resources_are_means_highest_values_and_totals(make: Any) -> None:
    report = everything(make)

    table = resource_table(report, cell_results(report))

    assert table is not None
    assert table["heads"] == ["GPU busy", "GPU memory, highest", "Training FLOPs", "Energy"]
    values = [value.replace("\N{NARROW NO-BREAK SPACE}", " ") for value in table["rows"][1]["values"]]
    assert values == ["80.0 %", "3.0 GB", "600 T", "12 kJ"]
    assert resource_table(make.finished(make.study()), []) is None
