"""The section on effects of factors: its panels, its tables of two factors, and what stands on the page."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from everything import everything
from support.pages import EXAMPLES

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.study import analyse
from cifarsweep.report.effects_section import effects_view
from cifarsweep.report.render import render_study


def view(report: ReportStudy) -> dict[str, Any]:
    found = effects_view(analyse(report))
    assert found is not None
    return found


def without(report: ReportStudy, *cells: int) -> ReportStudy:
    """The same study without some of its cells."""
    kept = tuple(cell for place, cell in enumerate(report.study.cells) if place not in cells)
    names = {cell.name for cell in kept}
    study = report.study.model_copy(update={"cells": kept})
    return replace(report, study=study, trials=tuple(one for one in report.trials if one.cell in names))


def test_every_factor_has_a_panel_on_one_axis() -> None:
    found = view(EXAMPLES["crossed"]())

    assert [(panel["name"], [point["label"] for point in panel["points"]]) for panel in found["panels"]] == [
        ("lr", ["0.03", "0.1", "0.3"]), ("optimizer", ["sgd", "adamw"]), ("skip", ["no", "yes"]),
    ]  # fmt: skip
    assert [panel["told"].replace("\N{NARROW NO-BREAK SPACE}", " ") for panel in found["panels"]] == [
        "2.1 ± 0.9 points", "within the noise", "2.0 ± 0.7 points",
    ]  # fmt: skip
    assert [tick["text"] for tick in found["ticks"]] == ["88 %", "89 %", "90 %", "91 %"]
    assert [bool(panel["line"]) for panel in found["panels"]] == [True, False, False], "only numbers have an order"
    worse, better = found["panels"][2]["points"]
    assert worse["y"] > better["y"] and worse["ends"][0] > worse["y"] > worse["ends"][1]


def test_labels_of_many_levels_stand_upright_and_all_points_stay_within_a_phone() -> None:
    rates, sizes = view(EXAMPLES["sixty"]())["panels"]

    assert rates["upright"] and rates["width"] <= 320
    assert [point["label"] for point in sizes["points"]] == ["32", "64", "128", "256", "512"]


def test_tables_of_two_factors_come_first_where_one_effect_depends_on_the_other() -> None:
    tables = view(EXAMPLES["crossed"]())["tables"]

    assert [(table["rows"], table["columns"], table["larger"]) for table in tables] == [
        ("lr", "skip", True), ("lr", "optimizer", False), ("optimizer", "skip", False),
    ]  # fmt: skip
    assert "depends on skip more than the noise explains" in tables[0]["told"]
    assert "does not depend on optimizer more than the noise explains" in tables[1]["told"]
    assert tables[0]["averaged"] and all(cell["half"] for line in tables[0]["lines"] for cell in line["cells"])


def test_shades_of_a_table_leave_out_what_is_at_chance(make: Any) -> None:
    (table,) = view(everything(make))["tables"]

    assert (table["rows"], table["columns"], table["heads"]) == ("lr", "skip", ["no", "yes"])
    shares = [[cell["share"] for cell in line["cells"]] for line in table["lines"]]
    assert shares[1] == [1.0, 0.0]
    assert 0.3 < shares[0][0] < shares[0][1] < 1
    assert table["least"] is not None


def test_places_of_a_table_are_means_of_like_cells_alone(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True), "batch_size": (16, 32)}, seeds=4)
    # At 0.1 without a skip connection there is no batch of 16.
    report = without(make.finished(study, [0.7, 0.9, 0.5, 0.9, 0.5, 0.9, 0.5, 0.9]), 0)

    table = view(report)["tables"][0]

    places = [cell for line in table["lines"] for cell in line["cells"]]
    assert all(float(place["mean"].split()[0]) > 80 and place["half"] for place in places)
    assert (table["averaged"], table["left_out"]) == (
        False, "Shown is batch_size=32 alone: 3 other cells have no counterpart at some place.",
    )  # fmt: skip


def test_factors_whose_places_have_no_cells_alike_make_no_table(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True), "batch_size": (16, 32)}, seeds=2)

    # At 0.1 there are no batches of 16 without a skip connection, and none of 32 with one.
    tables = view(without(make.finished(study), 0, 3))["tables"]

    assert ("lr", "skip") not in [(table["rows"], table["columns"]) for table in tables]


@pytest.mark.parametrize("factors", [{}, {"optimizer.lr": (0.1, 0.2, 0.3)}], ids=["one cell", "one factor"])
def test_a_study_without_crossed_factors_has_no_such_section(make: Any, factors: Mapping[str, Any]) -> None:
    report = make.finished(make.study(factors))

    assert effects_view(analyse(report)) is None
    assert 'id="effects"' not in render_study(analyse(report))


def test_it_is_the_first_figure_and_every_number_stands_in_the_page_itself() -> None:
    page = render_study(analyse(EXAMPLES["crossed"]())).replace("\N{NARROW NO-BREAK SPACE}", " ")

    numbers, words = zip(*re.findall(r"<b>Figure (\d+)\.</b> (?:<bdi[^>]*>)?([^,(]+)", page), strict=True)
    assert words[0].startswith("Mean test accuracy of each level over the others")
    assert list(map(int, numbers)) == list(range(1, len(numbers) + 1))
    assert "Over the others, lr 0.3 is 2.1 ± 0.9 points above 0.03; how much depends on skip." in page
    assert re.search(
        r'<td><bdi>lr</bdi></td><th scope="row" data-value="0.3"><bdi>0.3</bdi></th>'
        r'<td class="number" data-value="0\.9\d*">90.7 ± 0.5 %</td>',
        page,
    )
    assert "Searle, Speed and Milliken 1980" in page


def test_names_from_a_study_are_no_html(make: Any) -> None:
    study = make.study({"model.skip": (False, True), "optimizer.name": ("sgd", "adamw")}, seeds=2)
    study = study.model_copy(update={"factors": dict(zip(("<b>skip", "<i>name"), study.factors.values(), strict=True))})
    cells = tuple(
        cell.model_copy(update={"levels": dict(zip(study.factors, cell.levels.values(), strict=True))})
        for cell in study.cells
    )

    page = render_study(analyse(make.finished(study.model_copy(update={"cells": cells}))))

    assert "&lt;b&gt;skip" in page and "<b>skip" not in page.split("<script")[0]
