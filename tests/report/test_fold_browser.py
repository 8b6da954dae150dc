"""On a phone a long page folds what holds no answer; links, paper and wide screens show it."""

from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.figure_files import Paper, drawn_figures
from cifarsweep.report.render import write_pages

PHONE = {"width": 360, "height": 740}
OPEN = "Array.from(document.querySelectorAll('details.fold'), ({ open }) => open)"
LINES = "Array.from(document.querySelectorAll('details.fold > summary'), (line) => line.offsetHeight > 0)"
FOLD_OF = "(id) => document.getElementById(id).closest('details.fold').open"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages([analyse(EXAMPLES["sixty"]())], tmp_path_factory.mktemp("sixty"))[0]


def test_a_phone_shows_lines_in_the_place_of_long_parts(show: Any, page_file: Path) -> None:
    opened = show(page_file, **PHONE)

    states = opened.page.evaluate(OPEN)
    assert len(states) >= 6 and not any(states)
    assert all(opened.page.evaluate(LINES))
    assert opened.page.evaluate("document.documentElement.scrollHeight") < 9000
    assert opened.complaints == []


def test_a_wide_screen_folds_nothing_and_shows_no_line(show: Any, page_file: Path) -> None:
    page = show(page_file).page

    assert all(page.evaluate(OPEN))
    assert not any(page.evaluate(LINES))


@pytest.mark.parametrize("fragment", ["trial-16", "colour=lr&at=trial-16"])
def test_a_link_opens_what_it_points_to(show: Any, page_file: Path, fragment: str) -> None:
    page = show(page_file, **PHONE).page
    page.goto("about:blank")

    page.goto(f"{page_file.as_uri()}#{fragment}")

    page.wait_for_selector("#trial-16.here")
    assert page.evaluate(FOLD_OF, "trial-16")
    assert page.evaluate(OPEN).count(True) == 1


def test_the_way_back_from_a_link_is_free_of_errors(show: Any, page_file: Path) -> None:
    opened = show(page_file, **PHONE)
    opened.page.evaluate("location.hash = 'trial-16'")
    opened.page.wait_for_selector("#trial-16.here")

    opened.page.go_back()

    opened.page.wait_for_function("!document.querySelector('tr.here') && !location.hash")
    assert opened.complaints == []


def test_the_contents_open_a_section_and_the_reader_may_fold_it_again(show: Any, page_file: Path) -> None:
    page = show(page_file, **PHONE).page
    fold = page.locator("section[aria-labelledby=settings] > details.fold")

    page.evaluate("document.querySelector('.contents a[href=\"#settings\"]').click()")
    page.wait_for_function("document.querySelector('section[aria-labelledby=settings] > details.fold').open")
    fold.locator("> summary").click()

    page.wait_for_function("!document.querySelector('section[aria-labelledby=settings] > details.fold').open")


def test_paper_unfolds_all(show: Any, page_file: Path) -> None:
    page = show(page_file, **PHONE).page
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {OPEN} }})")

    page.pdf()

    assert all(page.evaluate("window.printed"))
    assert not any(page.evaluate(OPEN))


def test_what_was_open_is_open_again_after_paper(show: Any, page_file: Path) -> None:
    page = show(page_file, **PHONE).page
    page.locator("section[aria-labelledby=settings] > details.fold > summary").click()
    before = page.evaluate(OPEN)

    page.pdf()

    assert before.count(True) == 1
    page.wait_for_function(f"(before) => String({OPEN}) === String(before)", arg=before)


def test_figures_for_a_narrow_column_are_drawn_whole() -> None:
    found = {each.name: each for each in drawn_figures(analyse(EXAMPLES["sixty"]()), Paper(width_mm=85.0))}

    # A row for each of sixty cells.
    assert min(found[name].height for name in ("finals", "gaps")) > 60 * 10
