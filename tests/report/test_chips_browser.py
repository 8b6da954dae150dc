"""Chips hide levels and show them alone, colours and panels follow a factor, and a link brings all of it back."""

from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES
from support.waiting import wait_for

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

FACTORS = {"optimizer.lr": (0.03, 0.003, 0.3, 0.1), "model.skip": (False, True)}
NAMES = "Array.from(document.getElementById('curves-plot').data, ({ name }) => name).filter(Boolean)"
TRACES = "document.getElementById('curves-plot').data.length"
COLOURS = "Array.from(document.getElementById('curves-plot').data, ({ line }) => line.color)"
DASHES = "Array.from(document.getElementById('curves-plot').data, ({ line }) => line.dash)"
ROWS = "Array.from(document.getElementById('finals-plot').layout.yaxis.ticktext)"


@pytest.fixture(scope="module")
def page_file(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = make.finished(make.study(FACTORS, seeds=2), points=20)
    return write_pages([analyse(report)], tmp_path_factory.mktemp("pages"))[0]


@pytest.fixture(scope="module")
def opened(show: Any, page_file: Path) -> Any:
    found = show(page_file)
    found.page.wait_for_selector("#finals-plot .point")
    return found


@pytest.fixture
def page(opened: Any) -> Any:
    """A page opened once, because that takes seconds, as it is without choices."""
    opened.page.evaluate("location.hash = 'hide='")
    opened.page.wait_for_url(lambda url: "hide" not in url)
    yield opened.page
    assert opened.complaints == []


def chip(page: Any, level: str, part: str = "level") -> Any:
    return page.locator(f"#chips .chip:has(bdi:text-is('{level}')) .{part}")


def fragment(page: Any) -> str:
    return str(page.evaluate("location.hash.slice(1)"))


def test_a_level_hides_and_comes_back(page: Any) -> None:
    chip(page, "0.03").click()

    assert chip(page, "0.03").get_attribute("aria-pressed") == "false"
    assert page.locator("#chips-count").text_content() == "6 of 8 cells"
    assert len(page.evaluate(NAMES)) == 6
    assert page.locator("#legend button[data-cell]:visible").count() == 6
    assert fragment(page) == "hide=lr:0.03"

    chip(page, "0.03").click()

    assert len(page.evaluate(NAMES)) == 8
    assert fragment(page) == ""


def test_a_level_is_shown_alone_and_then_all(page: Any) -> None:
    chip(page, "0.1", "alone").click()
    assert page.evaluate(NAMES) == ["lr=0.1, skip=no", "lr=0.1, skip=yes"]
    assert chip(page, "0.1", "alone").get_attribute("aria-pressed") == "true"

    chip(page, "yes").click(modifiers=["Alt"])
    assert page.locator("#chips-count").text_content() == "1 of 8 cells"

    chip(page, "0.1", "alone").click()
    assert page.locator("#chips-count").text_content() == "4 of 8 cells"
    page.click("#chips-all")
    assert page.locator("#chips-count").text_content() == "All 8 cells"
    assert page.locator("#chips-all").is_hidden()


def test_the_last_level_can_not_go(page: Any) -> None:
    chip(page, "no").click()
    chip(page, "yes").click()

    assert page.locator("#chips-count").text_content() == "All 8 cells"


def test_chips_work_by_keyboard_and_have_names(page: Any) -> None:
    page.get_by_role("group", name="skip", exact=True).get_by_role("button", name="yes", exact=True).focus()
    page.keyboard.press("Space")
    assert fragment(page) == "hide=skip:yes"

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "yes alone"
    page.keyboard.press("Enter")
    assert fragment(page) == "hide=skip:no"

    page.focus("#chips-all")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "level"


def test_numbers_colour_by_their_order_and_marks_follow(page: Any) -> None:
    before = page.evaluate(COLOURS)

    page.select_option("#colour-by", label="lr")

    # 0.03, 0.003, 0.3 and 0.1 are the second, the least, the most and the third.
    variable = "getComputedStyle(document.documentElement).getPropertyValue('--s%d')"
    scale = [page.evaluate(variable % number) for number in (4, 0, 12, 8)]
    assert page.evaluate(COLOURS) == [colour for colour in scale for _ in range(2)]
    assert page.evaluate(DASHES) == ["solid", "dash"] * 4
    stroke = "getComputedStyle(document.querySelector('%s [data-cell=\"2\"] line')).stroke"
    assert page.evaluate(stroke % "table.results") == page.evaluate(stroke % "#legend") != ""
    dot = "getComputedStyle(document.querySelector('.chip.coloured .dot')).backgroundColor"
    assert page.evaluate(dot) == page.evaluate(stroke.replace('"2"', '"0"') % "#legend")

    page.select_option("#colour-by", label="cell")
    assert page.evaluate(COLOURS) == before


def test_texts_colour_by_the_palette(page: Any) -> None:
    page.select_option("#colour-by", label="skip")

    first, second = page.evaluate(COLOURS)[:2]
    palette = "getComputedStyle(document.documentElement).getPropertyValue('--c%d')"
    assert [first, second] == [page.evaluate(palette % number) for number in (0, 1)]


def test_each_level_has_a_panel_on_common_axes(page: Any) -> None:
    page.select_option("#panels-by", label="lr")

    drawn = page.evaluate("document.getElementById('curves-plot')._fullLayout")
    assert [drawn[f"yaxis{number}"]["range"] for number in (2, 3, 4)] == [drawn["yaxis"]["range"]] * 3
    titles = page.locator("#curves-plot .annotation-text").all_text_contents()
    assert titles == ["lr = 0.03", "lr = 0.003", "lr = 0.3", "lr = 0.1"]
    # With two curves in a panel, bands have room.
    assert page.is_checked("#bands")
    assert page.evaluate(ROWS)[:4] == [
        "<b>lr</b> = 0.03", "lr=0.03, skip=no", "lr=0.03, skip=yes", "<b>lr</b> = 0.003",
    ]  # fmt: skip

    chip(page, "0.003").click()
    assert len(page.locator("#curves-plot .annotation-text").all()) == 3
    page.select_option("#panels-by", label="–")
    assert page.locator("#curves-plot .annotation-text").count() == 0


def test_costs_classes_and_resources_have_the_panels_of_the_curves(show: Any, tmp_path: Path) -> None:
    path = write_pages([analyse(EXAMPLES["crossed"]())], tmp_path)[0]

    opened = show(path)
    opened.page.goto(f"{path.as_uri()}#panels=lr")
    opened.page.wait_for_selector(".panel .plot .trace", state="attached")

    titles = "(plot) => [...plot.querySelectorAll('.annotation-text')].map((title) => title.textContent)"
    ranges = "(plot) => ['xaxis', 'xaxis2', 'xaxis3'].map((axis) => plot._fullLayout[axis].range.join())"
    for plot in ("#curves-plot", "#costs-plot", "#classes-plot", ".panel .plot"):
        found = opened.page.locator(plot).first
        assert found.evaluate(titles) == ["lr = 0.03", "lr = 0.1", "lr = 0.3"], plot
        assert len(set(found.evaluate(ranges))) == 1, plot
    assert opened.page.locator("#costs-front").inner_text().endswith("Every panel has the line of all cells.")
    assert opened.complaints == []


def test_panels_stand_below_each_other_where_the_page_becomes_narrow(page: Any) -> None:
    page.select_option("#panels-by", label="skip")
    beside = "document.getElementById('curves-plot').layout.xaxis2.domain[0] > 0"
    assert page.evaluate(beside)
    size = page.viewport_size

    page.set_viewport_size({"width": 360, "height": 800})

    wait_for(lambda: not page.evaluate(beside))
    page.set_viewport_size(size)
    wait_for(lambda: page.evaluate(beside))


def test_bands_of_many_curves_wait_for_the_reader(page: Any) -> None:
    assert not page.is_checked("#bands")
    assert page.evaluate(TRACES) == 8

    page.check("#bands")

    assert page.evaluate(TRACES) == 16
    assert fragment(page) == "bands=1"


def test_the_line_of_an_entry_stands_out(page: Any) -> None:
    page.hover("#legend button[data-cell='3']")

    assert page.evaluate("document.querySelectorAll('#curves-plot .trace.stressed').length") == 1
    assert page.locator("#curves-plot.stressing").count() == 1
    page.mouse.move(0, 0)
    assert page.locator("#curves-plot.stressing").count() == 0


def test_the_lines_of_a_level_stand_out_until_it_is_hidden(page: Any) -> None:
    chip(page, "0.3").hover()

    stressed = "Array.from(document.querySelectorAll('#legend .stressed'), ({ dataset }) => dataset.cell)"
    assert page.evaluate(stressed) == ["4", "5"]
    assert page.evaluate("document.querySelectorAll('#curves-plot .trace.stressed').length") == 2
    chip(page, "0.3").click()
    assert page.locator("#curves-plot.stressing").count() == 0


def test_a_line_under_the_pointer_stands_out_with_its_entry(page: Any) -> None:
    page.evaluate("document.getElementById('curves-plot').emit('plotly_hover', "
                  "{ points: [{ data: document.getElementById('curves-plot').data[5] }] })")  # fmt: skip

    assert page.locator("#legend .stressed").get_attribute("data-cell") == "5"
    page.evaluate("document.getElementById('curves-plot').emit('plotly_unhover', {})")
    assert page.locator("#legend .stressed").count() == 0


def test_newer_data_leave_what_was_chosen(show: Any, page_file: Path) -> None:
    opened = show(page_file)
    page = opened.page
    chip(page, "0.03").click()
    page.select_option("#colour-by", label="skip")
    page.click("#legend button[data-cell='7']")
    said, names = fragment(page), page.evaluate(NAMES)

    page.evaluate("""() => {
      const detail = JSON.parse(document.getElementById('report-data').textContent);
      detail.factors[0].levels.unshift('0.5');
      for (const cell of detail.cells) cell.levels[0] += 1;
      detail.factors.reverse();
      for (const cell of detail.cells) cell.levels.reverse();
      document.dispatchEvent(new CustomEvent('newer-data', { detail }));
    }""")

    assert fragment(page) == said
    assert page.evaluate(NAMES) == names
    assert opened.complaints == []


def test_a_link_brings_everything_back(make: Any, show: Any, tmp_path: Path) -> None:
    path = write_pages([analyse(make.finished(make.study(FACTORS, seeds=2), points=20))], tmp_path, single_file=True)[0]
    sent = show(path).page
    chip(sent, "0.03").click()
    sent.select_option("#colour-by", label="lr")
    sent.select_option("#panels-by", label="skip")
    sent.check("input[name=x][value=elapsed_s]", force=True)
    sent.select_option("#y-axis", label="Training loss")
    sent.check("#log-scale")
    sent.uncheck("#bands")
    sent.select_option("#smoothing", "0.03")
    link = fragment(sent)
    assert link == "hide=lr:0.03&colour=lr&panels=skip&bands=0&x=elapsed_s&y=train/loss&logy=1&smoothing=0.03"

    got = show(path)
    got.page.goto("about:blank")
    got.page.goto(f"{path.as_uri()}#{link}")
    got.page.wait_for_selector("#curves-plot .trace")

    for seen in (NAMES, COLOURS, "document.getElementById('curves-plot').layout.yaxis3"):
        assert got.page.evaluate(seen) == sent.evaluate(seen)
    assert got.page.locator("#curves-plot .xtitle").first.text_content() == "Training time (s)"
    assert got.page.locator("#chips-count").text_content() == "6 of 8 cells"
    assert fragment(got.page) == link
    assert got.complaints == []


def test_levels_that_no_cell_has_together_are_told(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"batch_size": (1, 2), "epochs": (3, 4)}, seeds=1)
    study = study.model_copy(update={"cells": (study.cells[0], study.cells[3])})
    opened = show(write_pages([analyse(make.finished(study))], tmp_path)[0], 360)

    chip(opened.page, "1").click()
    chip(opened.page, "4").click()

    assert opened.page.locator("#chips-count").text_content() == "No cell has these levels together"
    opened.page.click("#chips-all")
    assert opened.page.locator("#chips-count").text_content() == "All 2 cells"
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    assert opened.complaints == []


def test_a_page_without_factors_has_no_chips(make: Any, show: Any, tmp_path: Path) -> None:
    opened = show(write_pages([analyse(make.finished(make.study({})))], tmp_path)[0])

    opened.page.wait_for_selector("#finals-plot .point")
    assert opened.page.locator("#chips, #bands").count() == 0
    assert opened.complaints == []


def test_where_cells_would_look_alike_colours_follow_a_factor(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"model.skip": (False, True), "batch_size": tuple(range(1, 21))}, seeds=1)
    page = show(write_pages([analyse(make.finished(study, [0.5] * 40, points=5))], tmp_path)[0]).page

    page.wait_for_selector("#curves-plot .trace")

    assert page.locator("#colour-by option:checked").text_content() == "batch_size"
    assert page.locator("#colour-by option").count() == 2
    assert fragment(page) == ""


def test_single_points_differ_by_shape(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"model.skip": (False, True), "batch_size": (1, 2)}, seeds=1)
    page = show(write_pages([analyse(make.finished(study, points=5))], tmp_path)[0]).page

    page.wait_for_selector("#finals-plot .point")

    shapes = "Array.from(document.getElementById('curves-plot').data, ({ mode, marker }) => [mode, marker.symbol])"
    assert page.evaluate(shapes) == [["markers", shape] for shape in ("circle", "diamond") * 2]
