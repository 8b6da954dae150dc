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

    with pytest.raises(StudyExists, match=r"\+  epochs = 9"):
        check_extends(demo, changed)


def test_a_changed_hypothesis_does_not_extend(demo):
    with pytest.raises(StudyExists, match="hypotheses"):
        check_extends(demo, demo.model_copy(update={"hypotheses": ()}))


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
