"""Pages on paper: no figure is higher than a page, every column fits, nothing asks to be clicked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

#: Pixels of CSS between the margins of US letter, the lower of the two papers.
PAGE = 979
PLOTS = "[...document.querySelectorAll('.plot')].map((plot) => plot.getBoundingClientRect().height)"
FIGURES = "[...document.querySelectorAll('figure')].map((figure) => figure.getBoundingClientRect().height)"
CONTROLS = """[...document.querySelectorAll('button, input, select')].filter((one) => one.checkVisibility()
  && one.getBoundingClientRect().height && !one.matches('.sort, .legend button, .chips button'))
  .map((one) => one.outerHTML)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every column of table 1, and one whose figures have sixty rows."""
    judged = EXAMPLES["judged"]()
    tested = [replace(one, final=one.final and {**one.final, "test/accuracy": 0.9}) for one in judged.trials]
    pages = [analyse(replace(judged, trials=tuple(tested))), analyse(EXAMPLES["sixty"]())]
    return write_pages(pages, tmp_path_factory.mktemp("paper"))[0].parent


@pytest.mark.parametrize("address", ["judged.html", "sixty.html", "sixty.html#panels=lr"])
def test_no_figure_is_cut_by_a_page(show: Any, folder: Path, address: str) -> None:
    page = show(folder / "index.html", 718, 1000).page
    page.goto(f"{folder.as_uri()}/{address}")
    page.wait_for_selector("#curves-plot .trace")
    before = page.evaluate(PLOTS)

    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert max(page.evaluate(PLOTS)) <= PAGE - 100
    if "panels" not in address:  # a legend of sixty entries below panels goes on to the next page
        assert max(page.evaluate(FIGURES)) <= PAGE
    assert page.evaluate(CONTROLS) == []
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.evaluate(PLOTS)[0] == before[0]


def test_table_1_with_every_column_is_no_wider_than_the_page(show: Any, folder: Path) -> None:
    page = show(folder / "judged.html", 1280).page
    page.locator("table.results input.pick").first.wait_for(state="attached")

    box = page.locator(".scroll:has(table.results)").first

    assert box.locator("thead th").count() == 10
    assert box.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0


def test_a_page_ends_between_trials_and_each_of_its_tables_has_its_head(show: Any, folder: Path) -> None:
    page = show(folder / "judged.html", 718, 1000).page
    page.wait_for_selector("table.trials .sort", state="attached")

    page.emulate_media(media="print")

    # Chromium paints no box of a button, only its text, in a head that it repeats.
    shown = page.evaluate("[...document.querySelectorAll('.sort')].map((one) => getComputedStyle(one).display)")
    assert set(shown) == {"contents"}
    after = "(row) => getComputedStyle(row).breakAfter"
    assert {page.locator(f"#trial-{n}").evaluate(after) for n in (0, 2, 4)} == {"avoid"}
    assert {page.locator(f"#more-{n}").evaluate(after) for n in (0, 2, 4)} == {"auto"}


@pytest.mark.parametrize("name", ["judged", "sixty"])
def test_a_heading_or_caption_stays_with_its_table(show: Any, folder: Path, name: str) -> None:
    page = show(folder / f"{name}.html", 718, 1000).page
    page.emulate_media(media="print")

    alone = page.evaluate("""[...document.querySelectorAll('section .scroll:not(figure *)')]
      .filter((box) => getComputedStyle(box).breakBefore !== 'avoid').map((box) => box.outerHTML.slice(0, 80))""")
    inside = page.evaluate("""[...document.querySelectorAll('figure .scroll')]
      .filter((box) => getComputedStyle(box).breakBefore !== 'auto').map((box) => box.outerHTML.slice(0, 80))""")

    assert (alone, inside) == ([], [])
    assert page.locator(".caption").first.evaluate("(text) => getComputedStyle(text).breakInside") == "avoid"


def test_marks_on_the_upper_edge_of_a_figure_stay_on_its_page(show: Any, tmp_path: Path) -> None:
    page = show(write_pages([analyse(EXAMPLES["searched"]())], tmp_path)[0], 718, 1000).page
    page.emulate_media(media="print")

    above = page.evaluate("""[...document.querySelectorAll('.of-search figure')].filter((figure) => {
      const top = figure.getBoundingClientRect().top;
      return [...figure.querySelectorAll('circle, .left span')].some((mark) => mark.getBoundingClientRect().top < top);
    }).map((figure) => figure.id)""")

    assert above == []
