"""The section on a search: readable without JavaScript, with a link to the trial of every mark."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.pages import EXAMPLES
from support.studies import Maker

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.search import search_result
from cifarsweep.analysis.study import analyse
from cifarsweep.report.axes import value_ticks, whole_ticks
from cifarsweep.report.marks import Scale
from cifarsweep.report.notes import evaluation_notes
from cifarsweep.report.render import render_study
from cifarsweep.report.search_section import search_payload, search_view
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import study_fields
from cifarsweep.spec.search_space import Choices, Range, Search

SPACE = {
    "optimizer.lr": Range(low=1e-4, high=1.0, log=True),
    "model.norm": Choices(choices=("batch", "layer")),
}
make = Maker()


def view_of(report: ReportStudy) -> dict[str, Any]:
    view = search_view(report, search_result(report), {trial.number for trial in report.trials})
    assert view is not None
    return view


@pytest.fixture
def searched() -> ReportStudy:
    """Three points, the last of which was pruned."""
    study = make.study({"optimizer.lr": (1e-4, 1e-2, 1.0)}, seeds=1)
    study = study.model_copy(update={"factors": {}, "search": Search(n_trials=9, pruner="median", space=SPACE)})
    ends = zip(study.cells, (0.5, 0.9, 0.1), ("finished", "finished", "pruned"), strict=True)
    trials = [
        make.trial(
            number,
            cell.name,
            0,
            levels={**cell.levels, "model.norm": "batch"},
            final={"val/accuracy": accuracy},
            outcome=outcome,
        )
        for number, (cell, accuracy, outcome) in enumerate(ends)
    ]
    return make.report(study, trials)


def test_points_stand_where_their_values_are(searched: ReportStudy) -> None:
    view = view_of(searched)

    rate, norm = view["slices"]
    assert rate["points"] == [(0, 0.0), (1, 50.0), (2, 100.0)]
    assert {x for _, x in norm["points"]} == {25.0}
    assert [view["marks"][number]["y"] for number in range(3)] == [50.0, 0.0, 100.0]
    assert [view["marks"][number]["cross"] for number in range(3)] == [False, False, True]


def test_axes_have_ticks_at_their_ends_and_at_every_choice(searched: ReportStudy) -> None:
    rate, norm = view_of(searched)["axes"]

    assert [tick["text"] for tick in rate["ticks"]] == ["0.0001", "0.01", "1"] and rate["log"]
    assert [(tick["text"], tick["at"]) for tick in norm["ticks"]] == [("batch", 25.0), ("layer", 75.0)]


def test_the_line_of_the_best_so_far_goes_on_to_the_last_point(searched: ReportStudy) -> None:
    history = view_of(searched)["history"]

    assert history["path"] == "M0.0 50.0H50.0V0.0H100"
    assert history["told"].startswith("The best so far is #1: 90.0")


def test_the_page_says_what_one_seed_tells_and_what_was_pruned(searched: ReportStudy) -> None:
    page = render_study(analyse(searched))

    assert "One seed for each point says little" in page
    assert "1 trial fell behind the others and was ended early (median)" in page
    assert "3 of 9 points were chosen by TPE" in page and "2 trials done, 1 pruned" in page
    assert '<span class="state pruned">pruned</span>' in page
    assert "Which parameters matter is told from 10 points on that trained to their end; there are 2." in page


def test_points_are_called_by_their_number_and_parameters_are_columns(searched: ReportStudy) -> None:
    view = study_view(analyse(searched))
    page = render_study(analyse(searched))

    assert view["search"]["parameters"] == ["lr", "norm"]
    assert [row["cell"] for row in view["results"]] == ["#0", "#1", "#2"]
    values = view["search"]["values"]
    assert [values[row["cell"]] for row in view["trials"]["rows"]] == [
        [("0.0001", "0.0001"), ("batch", "batch")],
        [("0.01", "0.01"), ("batch", "batch")],
        [("1", "1"), ("batch", "batch")],
    ]
    assert [cell["name"] for cell in view["payload"]["cells"]] == ["#0", "#1", "#2"]
    assert view["differing"]["keys"] == []
    assert view["lead"].startswith("Of 3 points that were tried, #1 (lr=0.01) has the highest")
    assert '<th scope="col">Point</th>' in page and '<th scope="col">Cell</th>' not in page


def test_the_lead_calls_a_parameter_as_its_column_does() -> None:
    view = study_view(analyse(EXAMPLES["searched"]()))

    assert "optimizer" in view["search"]["parameters"]
    assert "optimizer=adamw)" in view["lead"] and "name=" not in view["lead"]


def test_each_mark_is_a_link_to_a_trial_that_the_page_lists() -> None:
    page = render_study(analyse(EXAMPLES["searched"]()))

    links = set(re.findall(r'<a class="point[^>]*href="#(trial-\d+)"', page))
    assert len(links) == 60 and links <= set(re.findall(r'<tr id="(trial-\d+)"', page))


def test_of_each_plot_the_best_point_alone_is_a_stop_of_the_tab_key() -> None:
    page = render_study(analyse(EXAMPLES["searched"]()))

    stops = re.findall(r'<a class="point[^>]*data-point="(\d+)"[^>]*tabindex="0"', page)
    assert stops == ["44"] * len(re.findall(r'<svg class="points', page))


def test_importance_is_said_with_what_it_means() -> None:
    page = render_study(analyse(EXAMPLES["searched"]()))

    assert "sets the best 6 of 55 points apart from all of them" in page
    lr = r'<tr><th scope="row" title="optimizer.lr">lr</th><td><span class="bar" style="width: 9\d.\d%">'
    assert re.search(lr, page) and page.count("<small>within chance</small>") == 3
    assert "uncertain" not in page


def test_few_points_come_with_a_caution() -> None:
    whole = EXAMPLES["searched"]()
    few = replace(whole, trials=whole.trials[:24])

    assert "Of fewer than 30 points this is uncertain" in render_study(analyse(few))


def test_the_next_step_names_as_many_points_as_there_are(searched: ReportStudy) -> None:
    page = render_study(analyse(searched))

    assert "cifarsweep create --from tried --best 2 --seeds 5" in page
    assert "Makes the study tried-best-2 of #1, #0" in page


def test_one_point_is_tested_against_nothing(searched: ReportStudy) -> None:
    one = replace(searched, trials=searched.trials[:1])

    assert "Makes the study tried-best-1 of #0, with the same settings. Run it" in render_study(analyse(one))


def test_ticks_are_round_and_three_or_more(searched: ReportStudy) -> None:
    for worst, best in ((0.005, 0.972), (0.2, 0.21), (0.64, 0.944), (1e-9, 3e-9)):
        ticks = value_ticks(Scale(worst, best, 100, 0), "val/accuracy")
        assert 3 <= len(ticks) <= 5, (worst, best)
    assert [tick["text"] for tick in value_ticks(Scale(0.005, 0.972, 100, 0), "loss")] == ["0.25", "0.5", "0.75"]
    assert whole_ticks(Scale(0, 59, 100, 0)) == [0, 20, 40] and whole_ticks(Scale(0, 2, 100, 0)) == [0, 1, 2]


def test_a_point_without_a_value_of_the_space_stands_in_tables_alone() -> None:
    """As after the space was changed by hand: its row has a gap, and no plot of that parameter has it."""
    whole = EXAMPLES["searched"]()
    lost = replace(whole.trials[44], levels={"optimizer.lr": 0.0182})
    trials = tuple(lost if one.number == 44 else one for one in whole.trials)

    view = view_of(replace(whole, trials=trials))

    assert view["values"]["#44"] == [("0.0182", "0.0182"), ("", ""), ("", ""), ("", "")]
    assert all(44 not in dict(each["points"]) for each in view["slices"])


def test_a_search_without_a_result_has_no_figure_and_no_command() -> None:
    whole = EXAMPLES["searched"]()
    waiting = replace(whole.trials[0], state="leased", outcome=None, final={})
    page = render_study(analyse(replace(whole, trials=(waiting,), series={})))

    assert "1 of 60 points was chosen" in page
    assert "create --from" not in page and "figure-history" not in page


def test_of_a_loss_less_is_better() -> None:
    whole = EXAMPLES["searched"]()
    found = search_result(whole)
    assert found is not None
    view = search_view(whole, replace(found, metric="val/loss"), set())
    assert view is not None

    best = max(view["marks"].values(), key=lambda mark: mark["share"])
    assert best["y"] == max(mark["y"] for mark in view["marks"].values())
    assert not best["linked"]


def test_the_payload_has_raw_values_and_the_number_of_a_choice(searched: ReportStudy) -> None:
    payload = search_payload(search_result(searched))

    assert payload is not None
    assert [point["at"] for point in payload["points"]] == [[1e-4, 0], [1e-2, 0], [1.0, 0]]
    assert payload["points"][2]["told"].startswith("#2: 10.0") and "pruned" in payload["points"][2]["told"]


def test_json_has_points_their_order_and_importance() -> None:
    fields = study_fields(analyse(EXAMPLES["searched"]()))["search"]

    assert fields["planned"] == len(fields["points"]) == 60
    assert fields["ranked"][0] == fields["leaders"][-1] == 44
    importance = fields["importance"]
    assert (importance["best"], importance["uncertain"], importance["beyond_chance"]) == (6, False, ["optimizer.lr"])
    assert json.loads(json.dumps(fields))["points"][0]["state"] == "pruned"


def test_json_of_a_study_that_compares_has_no_search() -> None:
    assert study_fields(analyse(make.finished(make.study())))["search"] is None


def test_every_point_looked_at_the_test_set_and_was_chosen_by_it(searched: ReportStudy) -> None:
    """Two of the three have no line of their own, and no curve."""
    shown = searched.study.model_copy(update={"cells": searched.study.cells[1:2]})
    curve = {(1, "val/accuracy"): (np.arange(1, 11), np.full(10, 0.9))}

    notes = " ".join(evaluation_notes(replace(searched, study=shown, series=curve, evaluations={0: 10, 2: 4})))

    assert "looked at 24 times in 3 trials, at most 10 times in one. The test set chose the points" in notes


def test_a_study_that_compares_has_no_such_section() -> None:
    report = make.finished(make.study())

    assert search_view(report, search_result(report), set()) is None and search_payload(None) is None
