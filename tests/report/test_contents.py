"""The list of contents names every section, and shows where the reader is."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import render_study, write_pages

HOSTILE = '<h2 id="hacked">x</h2>'
WAITING = {"state": "queued", "outcome": None, "final": {}, "steps": 0, "elapsed_s": None, "attempts": ()}
CURRENT = "[...document.querySelectorAll('.contents a[aria-current=true]')].map((link) => link.hash)"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_contents_lead_to_every_section(name: str) -> None:
    page = render_study(analyse(EXAMPLES[name]()))

    listed = re.search(r'<nav class="contents".*?</nav>', page, flags=re.DOTALL)[0]
    sections = page.split("</nav>")[1]
    assert re.findall(r'<a href="#([^"]+)">(.*?)</a>', listed) == re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', sections)
    assert "How to reproduce it" in listed


def test_a_study_without_results_has_contents_too_and_no_text_of_its_own_gets_in(make: Any) -> None:
    study = make.study({}, question=HOSTILE, source=HOSTILE)
    trials = [make.trial(n, p.cell.name, p.seed, **WAITING) for n, p in enumerate(study.trials())]

    page = render_study(analyse(make.report(study, trials)))

    assert '<a href="#found">What was found</a>' in page and "#hacked" not in page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages([analyse(EXAMPLES["judged"]())], tmp_path_factory.mktemp("contents"))[0]


@pytest.mark.parametrize("width", [1440, 1024, 360])
def test_the_contents_stay_in_sight_and_mark_the_section_that_is_read(show: Any, page_file: Path, width: int) -> None:
    opened = show(page_file, width)
    page = opened.page
    assert page.evaluate(CURRENT) == ["#found"]

    page.locator(".contents a[href='#trials']").click()

    page.wait_for_selector(".contents a[aria-current=true][href='#trials']")
    assert page.evaluate(CURRENT) == ["#trials"]
    link = page.locator(".contents a[aria-current]").bounding_box()
    assert link["y"] >= 0 and link["x"] >= 0 and link["x"] + link["width"] <= width
    heading = page.locator("#trials").bounding_box()
    beside = link["x"] + link["width"] <= heading["x"]
    assert 0 <= heading["y"] <= 450 and (beside or heading["y"] >= link["y"] + link["height"])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.complaints == []


def test_without_scripts_the_contents_lead_and_paper_has_none(show: Any, page_file: Path) -> None:
    page = show(page_file, 1440, java_script_enabled=False).page

    page.locator(".contents a[href='#again']").click()
    assert page.url.endswith("#again")
    page.emulate_media(media="print")
    assert not page.locator(".contents").is_visible()
