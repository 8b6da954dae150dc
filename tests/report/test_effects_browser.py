"""The panels of factors follow the chips and the colours that the reader chose."""

from pathlib import Path
from typing import Any

from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

PALE = "[...document.querySelectorAll('.effect-panel .pale')].map((mark) => mark.querySelector('title').textContent)"
COLOURS = """[...document.querySelectorAll('.effect-panel .level circle')].map((mark) => getComputedStyle(mark).fill)"""


def test_levels_that_are_hidden_are_pale_and_a_factor_has_the_colours_that_it_gives(show: Any, tmp_path: Path) -> None:
    path = write_pages([analyse(EXAMPLES["crossed"]())], tmp_path)[0]
    opened = show(path)
    page = opened.page
    assert page.evaluate(PALE) == [] and len(set(page.evaluate(COLOURS))) == 1

    page.goto("about:blank")
    page.goto(f"{path.as_uri()}#hide=lr:0.03,skip:no&colour=optimizer")
    page.wait_for_selector("#curves-plot .trace")

    assert [title.split(":")[0] for title in page.evaluate(PALE)] == ["0.03", "no"]
    rates, names, skips = (page.evaluate(COLOURS)[part] for part in (slice(0, 3), slice(3, 5), slice(5, 7)))
    assert len({*rates, *skips}) == 1 and len(set(names)) == 2 and not {*rates} & {*names}
    assert opened.complaints == []


def test_they_can_be_read_without_scripts_on_a_phone(show: Any, tmp_path: Path) -> None:
    path = write_pages([analyse(EXAMPLES["sixty"]())], tmp_path)[0]

    page = show(path, width=360, java_script_enabled=False).page

    assert page.locator(".effect-panel").count() == 2
    boxes = [panel.bounding_box() for panel in page.locator(".effect-panel svg").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#figure-effects summary")
    assert page.locator("table.effects tbody tr").count() == 17


def test_levels_and_tables_of_two_factors_sort(show: Any, tmp_path: Path) -> None:
    opened = show(write_pages([analyse(EXAMPLES["crossed"]())], tmp_path)[0])
    page = opened.page
    page.click("#figure-effects summary")

    page.locator("table.effects thead").get_by_role("button", name="Accuracy").click()
    means = page.evaluate(
        "[...document.querySelectorAll('table.effects tbody td[data-value]')].map((e) => Number(e.dataset.value))"
    )
    heat = page.locator("table.heat").first
    first = "[...document.querySelector('table.heat').tBodies[0].rows].map((row) => Number(row.cells[1].dataset.value))"
    for _ in range(2):
        heat.locator("thead tr").last.get_by_role("button").nth(1).click()

    assert means == sorted(means) and len(set(means)) > 1
    assert page.evaluate(first) == sorted(page.evaluate(first), reverse=True)
    assert "sort=table-effects:3a,crossing-1:2d" in page.url
    assert opened.complaints == []
