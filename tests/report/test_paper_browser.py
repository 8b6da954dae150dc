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
