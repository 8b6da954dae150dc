"""The factors of a page, which its chips, colours and panels follow."""

import json
import re
from typing import Any

import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report.factors import factor_payload, level_places, page_factors
from cifarsweep.report.render import render_study
from cifarsweep.spec.levels import shown_keys


def test_every_level_of_every_factor_has_its_place(make: Any) -> None:
    study = make.study({"optimizer.lr": (3e-3, 1e-3), "model.skip": (False, True)})

    factors = page_factors(study)

    assert factor_payload(factors) == [
        {"key": "optimizer.lr", "name": "lr", "levels": ["0.003", "0.001"], "numeric": True},
        {"key": "model.skip", "name": "skip", "levels": ["no", "yes"], "numeric": False},
    ]
    assert [level_places(cell, factors) for cell in study.cells] == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_a_study_without_factors_has_none(make: Any) -> None:
    assert page_factors(make.study({})) == {}


def test_a_factor_of_one_level_is_none_to_choose_from(make: Any) -> None:
    assert list(page_factors(make.study({"optimizer.lr": (0.1,), "batch_size": (1, 2)}))) == ["batch_size"]


def test_levels_of_arms_come_last_and_an_arm_may_have_none(make: Any) -> None:
    study = make.study({"batch_size": (64, 32)})
    arms = [
        study.cells[0].model_copy(update={"name": name, "levels": levels})
        for name, levels in (("large", {"batch_size": 128}), ("other", {}))
    ]
    study = study.model_copy(update={"cells": (arms[0], *study.cells, arms[1])})

    factors = page_factors(study)

    assert factors == {"batch_size": [64, 32, 128]}
    assert [level_places(cell, factors) for cell in study.cells] == [[2], [0], [1], [None]]


@pytest.mark.parametrize(("levels", "numeric"), [((1, 0.5), True), ((True, False), False), ((None, 1.0), False)])
def test_numbers_have_an_order(levels: tuple[Any, ...], numeric: bool) -> None:
    assert factor_payload({"some.key": list(levels)})[0]["numeric"] is numeric


def test_a_choice_among_tables_is_called_by_what_is_chosen() -> None:
    keys = {"optimizer.name": ["sgd", "adamw"], "optimizer.lr": [0.1, 0.3]}

    assert [factor["name"] for factor in factor_payload(keys)] == ["optimizer", "lr"]
    assert shown_keys(["optimizer.name", "model.name", "a.lr", "b.lr", "name"]) == {
        "optimizer.name": "optimizer", "model.name": "model", "a.lr": "a.lr", "b.lr": "b.lr", "name": "name",
    }  # fmt: skip


def test_rows_of_table_1_and_the_legend_name_their_cell(make: Any) -> None:
    study = make.study()

    page = render_study(analyse(make.finished(study)))

    cells = json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])["cells"]
    results = page[page.index('<table class="results') : page.index("</table>")]
    numbers = re.findall(r'<tr data-cell="(\d+)"', results)
    assert numbers == re.findall(r'<button [^>]*data-cell="(\d+)"', page)
    assert len(numbers) == len(cells) == 6
    assert cells[1]["levels"] == [0, 1]
