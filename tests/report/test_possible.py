"""Hypotheses for a study without one: a file can be read with them, and what was found does not choose them."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES
from support.programs import program_report, program_study

from cifarsweep.analysis.study import analyse
from cifarsweep.report.possible_text import possible_view
from cifarsweep.report.render import render_study
from cifarsweep.spec.possible import possible_hypotheses
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study

FILE = """name = "tried"
question = "Which?"
seeds = 3
[settings]
dataset = "digits"
epochs = 1
[factors]
{factors}
"""
FACTORS = (
    '"optimizer.lr" = [0.1, 0.03, 0.01]\n"model.skip" = [false, true]',
    '"optimizer.name" = ["sgd", "adamw"]\n"model.norm" = ["none", "batch"]\nbatch_size = [32, 64]',
    '"model.widths" = [[8], [16]]\n"optimizer.lr" = [1, 2]\n[[exclude]]\n"optimizer.lr" = 2\n"model.widths" = [16]',
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Study]:
    def _read(text: str) -> Study:
        (tmp_path / "tried.toml").write_text(text)
        return read_study(tmp_path / "tried.toml")

    return _read


def toml_of(page: str) -> str:
    """What a reader copies from the page."""
    return html.unescape(page.partition('<pre id="possible-toml" tabindex="0">')[2].partition("</pre>")[0])


@pytest.mark.parametrize("factors", FACTORS)
def test_a_study_file_is_read_with_what_its_page_offers(make: Any, read: Any, factors: str) -> None:
    """Given a study without hypotheses, when the text of its page is put at the end of its file, then it has them."""
    text = FILE.format(factors=factors)
    study = read(text)

    found = read(f"{text}\n{toml_of(render_study(analyse(make.finished(study))))}")

    assert found.hypotheses == tuple(one.hypothesis for one in possible_hypotheses(study)) and found.hypotheses
    assert found.cells == study.cells


def test_each_factor_and_each_at_a_level_of_another_can_be_asked_of() -> None:
    claims = [one.hypothesis.claim for one in possible_hypotheses(EXAMPLES["crossed"]().study)]

    assert claims == [
        "lr 0.3 is best",
        "val/accuracy rises from lr 0.03 to 0.3",
        "optimizer adamw is better than sgd",
        "optimizer adamw and sgd are as good",
        "skip yes is better than no",
        "skip yes and no are as good",
        "optimizer adamw is better than sgd at lr 0.3",
        "optimizer adamw is better than sgd at skip yes",
        "skip yes is better than no at lr 0.3",
        "skip yes is better than no at optimizer adamw",
    ]


def test_they_do_not_depend_on_what_was_found(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True)})

    up, down = (possible_view(make.finished(study, values)) for values in ([0.5, 0.6, 0.7, 0.8], [0.8, 0.7, 0.6, 0.5]))

    assert up == down


def test_less_of_a_loss_is_better_and_its_margin_is_to_choose() -> None:
    study = program_study("val/loss", factors={"lr": (0.1, 0.2), "width": (1, 2)})

    view = possible_view(program_report(study, [0.5, 0.4, 0.3, 0.2]))

    assert view is not None
    first = view["toml"].split("[[")[1]
    assert 'claim = "lr 0.2 is better than 0.1"' in first and 'a = { "lr" = 0.1 }' in first
    assert "margin = 0.1  # choose what matters, in units of val/loss" in first and 'metric = "val/loss"' in first


def test_where_results_are_known_other_seeds_are_asked_for() -> None:
    report = EXAMPLES["crossed"]()
    waiting = replace(report, trials=())

    page, before = render_study(analyse(report)), render_study(analyse(waiting))

    assert "with other seeds (<code>seeds = [5, 6, 7, 8, 9]</code>)" in page
    assert "before its trials train" in before and "other seeds" not in before
    assert re.search(r"10 hypotheses that a study of these factors could have, to copy", page)


@pytest.mark.parametrize("name", ["judged", "single", "searched"])
def test_a_study_with_hypotheses_one_cell_or_a_search_is_offered_none(name: str) -> None:
    assert possible_view(EXAMPLES[name]()) is None


def test_a_claim_is_one_line_of_a_length_that_a_study_may_have() -> None:
    levels = ("a\nb" * 45, 'q"uote' * 24)
    study = program_study(factors={"text": levels, "lr": (0.1, 0.2)})

    claims = [one.hypothesis.claim for one in possible_hypotheses(study)]

    assert claims and all(len(claim) <= 300 and "\n" not in claim for claim in claims)
