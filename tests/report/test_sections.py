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
from cifarsweep.report.sections import HEIGHT, WIDTH, interactions, resource_table, search_view
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


def test_factors_that_cross_make_a_table_whose_shades_leave_out_what_is_at_chance(make: Any) -> None:
    report = everything(make)

    (table,) = interactions(report.study, cell_results(report))

    assert (table["rows"], table["columns"], table["heads"]) == ("optimizer.lr", "model.skip", ["no", "yes"])
    shares = [[cell["share"] for cell in line["cells"]] for line in table["lines"]]
    assert shares[1] == [1.0, 0.0]
    assert 0.3 < shares[0][0] < shares[0][1] < 1
    assert table["least"] is not None


def test_a_third_factor_is_averaged_and_one_at_a_time_is_no_crossing(make: Any) -> None:
    study = make.study({"batch_size": (16, 32), "optimizer.lr": (0.1, 0.2), "model.skip": (False, True)}, seeds=1)
    report = make.finished(study, [0.5 + 0.05 * place for place in range(8)])
    results = cell_results(report)

    tables = interactions(study, results)

    assert [(table["rows"], table["columns"]) for table in tables] == [
        ("batch_size", "optimizer.lr"), ("batch_size", "model.skip"), ("optimizer.lr", "model.skip"),
    ]  # fmt: skip
    assert all(table["averaged"] for table in tables)
    apart = [result for result in results if result.cell.levels["batch_size"] == 16][:1] + results[-1:]
    assert interactions(study, apart) == []


def test_places_of_a_table_are_means_of_like_cells_alone(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True), "batch_size": (16, 32)}, seeds=4)
    # At 0.1 without a skip connection there is no batch of 16.
    study = study.model_copy(update={"cells": study.cells[1:]})
    results = cell_results(make.finished(study, [0.9, 0.5, 0.9, 0.5, 0.9, 0.5, 0.9]))

    table = interactions(study, results)[0]

    places = [cell for line in table["lines"] for cell in line["cells"]]
    assert all(float(place["mean"].split()[0]) > 80 and place["half"] for place in places)
    assert (table["averaged"], table["left_out"]) == (
        False, "Shown is batch_size=32 alone: 3 other cells have no counterpart at some place."
    )  # fmt: skip


def test_factors_whose_places_have_no_cells_alike_make_no_table(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True), "batch_size": (16, 32)}, seeds=2)
    # At 0.1 there are no batches of 16 without a skip connection, and none of 32 with one.
    study = study.model_copy(update={"cells": (study.cells[1], study.cells[2], *study.cells[4:])})

    tables = interactions(study, cell_results(make.finished(study)))

    assert [(table["rows"], table["columns"]) for table in tables] == [("model.skip", "batch_size")]


def test_resources_are_means_highest_values_and_totals(make: Any) -> None:
    report = everything(make)

    table = resource_table(report, cell_results(report))

    assert table is not None
    assert table["heads"] == ["GPU busy", "GPU memory, highest", "Training FLOPs", "Energy"]
    values = [value.replace("\N{NARROW NO-BREAK SPACE}", " ") for value in table["rows"][1]["values"]]
    assert values == ["80.0 %", "3.0 GB", "600 T", "12 kJ"]
    assert resource_table(make.finished(make.study()), []) is None
