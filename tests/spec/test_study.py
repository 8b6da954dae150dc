"""Extending a study, and saying how two differ."""

from pathlib import Path

import pytest

from cifarsweep.errors import StudyExists
from cifarsweep.spec.levels import cell_name, level_text
from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.study import Study, select
from cifarsweep.spec.study_diff import check_extends, difference


@pytest.fixture
def demo():
    return read_study(find("demo"))


def test_more_seeds_extend_a_study(demo):
    check_extends(demo, read_study(find("demo"), seeds=5))


def test_fewer_seeds_do_not(demo):
    with pytest.raises(StudyExists, match="seed 2"):
        check_extends(demo, read_study(find("demo"), seeds=2))


def test_other_settings_do_not_extend_and_the_diff_names_them(demo):
    changed = read_study(find("demo"), overrides={"epochs": 9})

    with pytest.raises(StudyExists, match=r"epochs: 15 -> 9 in all 4 cells$"):
        check_extends(demo, changed)


def test_a_changed_hypothesis_does_not_extend(demo):
    with pytest.raises(StudyExists, match="hypotheses"):
        check_extends(demo, demo.model_copy(update={"hypotheses": ()}))


def test_a_setting_that_only_some_cells_change_names_them(demo):
    cells = [
        cell.model_copy(update={"own_settings": cell.settings.model_copy(update={"epochs": 7})}) if at < 2 else cell
        for at, cell in enumerate(demo.cells)
    ]

    said = difference(demo, demo.model_copy(update={"cells": tuple(cells)}))

    assert said == f"epochs: 15 -> 7 in 2 of 4 cells: {demo.cells[0].name!r}, {demo.cells[1].name!r}"


def test_cells_and_hypotheses_that_go_and_come_are_named(demo):
    renamed = demo.cells[0].model_copy(update={"name": "other"})
    changed = {"cells": (renamed, *demo.cells[1:]), "hypotheses": demo.hypotheses[1:]}

    lines = difference(demo, demo.model_copy(update=changed)).splitlines()

    assert lines[-2:] == [f"1 cell gone: {demo.cells[0].name!r}", "1 cell new: 'other'"]
    assert lines[0].startswith('hypothesis gone: {"claim"')


def test_a_changed_margin_is_named_by_hypothesis_and_key(demo):
    first = demo.hypotheses[0].model_copy(update={"margin": 0.25})

    said = difference(demo, demo.model_copy(update={"hypotheses": (first, *demo.hypotheses[1:])}))

    assert said.startswith("hypothesis 1: margin: ") and said.endswith(" -> 0.25") and "\n" not in said


def test_cells_in_another_order_are_another_study(demo):
    turned = demo.model_copy(update={"cells": demo.cells[::-1]})

    assert difference(demo, turned) == "the cells come in another order"


def test_equal_studies_have_no_difference(demo):
    assert difference(demo, demo) == ""


def test_a_switch_is_not_a_number(demo):
    assert len(select(demo.cells, {"model.skip": True})) == 2
    assert select(demo.cells, {"model.skip": 1}) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (3e-4, "0.0003"),
        (1e-5, "1e-05"),
        ((32, 64), "32-64"),
        ("sgd", "sgd"),
        (None, "none"),
        (0.9999999, "0.9999999"),
    ],
)
def test_levels_are_written_for_readers(value: object, text: str):
    assert level_text(value) == text


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_study_that_is_read_back_has_its_factors_in_the_order_of_its_file(path: Path):
    study = read_study(path)

    back = Study.from_canonical(study.canonical())

    factors = list(study.factors)
    assert list(back.factors) == factors
    assert all([key for key in cell.levels if key in factors] == factors for cell in back.cells)
    assert (back, back.sha256) == (study, study.sha256)


def test_the_order_is_that_of_a_crossed_cell_where_an_arm_has_a_name_of_its_own(demo):
    turned = {key: demo.factors[key] for key in reversed(demo.factors)}
    arm, crossed = demo.cells[0], demo.cells[1]
    arm = arm.model_copy(update={"name": "lr=any, norm=all"})
    crossed = crossed.model_copy(update={"name": cell_name(crossed.levels, list(turned))})
    study = demo.model_copy(update={"factors": turned, "cells": (arm, crossed)})

    assert list(Study.from_canonical(study.canonical()).factors) == list(turned)
