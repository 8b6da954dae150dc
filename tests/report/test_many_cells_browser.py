"""With many cells a figure is drawn when the reader comes near, and every figure is drawn for print."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.waiting import wait_for

from cifarsweep.analysis.study import analyse
from cifarsweep.report.browser_print import write_png
from cifarsweep.report.render import write_pages

NAMED = "document.querySelectorAll('#finals-plot .ytick').length"
DOTS = "document.querySelectorAll('#finals-plot .point').length"
MAIN = "document.querySelectorAll('#curves-plot .trace').length"
INK = "document.getElementById('finals-plot').layout.font.color"
#: The page, which observes the figure, has heard by then: observers hear in the order in which they were made.
OUT_OF_SIGHT = """new Promise((resolve) => {
  const told = ([entry], observer) => { if (!entry.isIntersecting) { observer.disconnect(); resolve(); } };
  const figure = document.getElementById("finals-plot").closest("figure.drawn");
  new IntersectionObserver(told, { rootMargin: "600px" }).observe(figure);
})"""
CELLS = 60


@pytest.fixture(scope="module")
def page_file(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = make.study({"batch_size": tuple(range(1, CELLS + 1))}, seeds=2)
    return write_pages([analyse(make.finished(study, [0.5] * CELLS, points=20))], tmp_path_factory.mktemp("many"))[0]


def test_a_figure_is_drawn_when_the_reader_comes_near(show: Any, page_file: Path) -> None:
    opened = show(page_file)
    page = opened.page
    wait_for(lambda: page.evaluate(MAIN) > 0)
    assert page.evaluate(DOTS) == 0

    page.locator("#finals-plot").scroll_into_view_if_needed()

    page.wait_for_selector("#finals-plot .point")
    assert (page.evaluate(DOTS), page.evaluate(NAMED)) == (3 * CELLS, CELLS)  # two seeds and a mean a cell, each named
    assert opened.complaints == []


def test_a_figure_out_of_sight_follows_the_colour_scheme_when_it_is_seen_again(show: Any, page_file: Path) -> None:
    page = show(page_file, color_scheme="light").page
    page.locator("#finals-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#finals-plot .point")
    light = page.evaluate(INK)
    page.evaluate("scrollTo(0, 0)")
    page.evaluate(OUT_OF_SIGHT)

    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    assert page.evaluate(INK) == light
    page.locator("#finals-plot").scroll_into_view_if_needed()

    wait_for(lambda: page.evaluate(INK) != light)


def test_paper_has_every_figure(show: Any, page_file: Path) -> None:
    page = show(page_file).page

    page.evaluate("addEventListener('beforeprint', () => { window.printed = " + DOTS + " })")
    page.pdf()

    assert page.evaluate("window.printed") == 3 * CELLS


def test_a_picture_has_every_figure(show: Any, page_file: Path) -> None:
    box = show(page_file).page.locator("#finals-plot").bounding_box()

    out, _ = write_png(page_file)

    with Image.open(out) as picture:
        figure = picture.crop((0, int(box["y"]), picture.width, int(box["y"] + box["height"])))
        colours = figure.getcolors(1 << 16)
    assert colours is not None
    assert len(colours) > 20  # an empty figure is paper alone
