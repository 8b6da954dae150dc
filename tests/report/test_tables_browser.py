"""The tables of a page in a real browser: sorted, filtered, opened, and found by an address."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

#: The text of a column of the rows that are shown, in their order.
COLUMN = """([key, column]) => [...document.querySelectorAll(`table[aria-labelledby="${key}"] tbody tr:not(.more)`)]
  .filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim())"""
#: Whether the rows that tell more of a trial follow it.
TOGETHER = """[...document.querySelectorAll('table.trials tr.more')].every((row) => (
  row.previousElementSibling.id === row.id.replace('more', 'trial')))"""
NUMBER, STATE, CELL, SEED, ACCURACY = range(5)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages([analyse(EXAMPLES["judged"]())], tmp_path_factory.mktemp("tables"))[0]


@pytest.fixture(scope="module")
def opened(show: Any, page_file: Path) -> Any:
    return show(page_file)


@pytest.fixture
def page(opened: Any, page_file: Path) -> Any:
    """A page as it is at first; it may complain of nothing."""
    opened.page.goto("about:blank")
    opened.page.goto(page_file.as_uri())
    opened.page.wait_for_selector("#finals-plot .point")
    yield opened.page
    assert opened.complaints == []


def visit(page: Any, path: Path, fragment: str) -> Any:
    page.goto("about:blank")
    page.goto(f"{path.as_uri()}#{fragment}")
    page.wait_for_selector("#finals-plot .point")
    return page


def column(page: Any, key: str, place: int) -> list[str]:
    return list(page.evaluate(COLUMN, [key, place]))


def test_a_click_sorts_by_value_a_second_one_turns_it_and_a_third_one_undoes_it(page: Any) -> None:
    served = column(page, "table-2", NUMBER)
    button = page.locator("table.trials thead").get_by_role("button", name="Accuracy")

    button.click()
    rising = column(page, "table-2", ACCURACY)
    assert page.locator("table.trials th[aria-sort=ascending]").inner_text() == "Accuracy"
    button.press("Enter")
    falling = column(page, "table-2", ACCURACY)

    known = [float(text.split("\u202f")[0]) for text in rising[:-2]]
    assert known == sorted(known) and [float(text.split("\u202f")[0]) for text in falling[:-2]] == known[::-1]
    assert rising[-2:] == falling[-2:] == ["–", "–"]  # what is missing comes last both ways
    assert page.evaluate("location.hash") == "#sort=table-2:5d"
    assert page.evaluate(TOGETHER)
    button.click()
    assert column(page, "table-2", NUMBER) == served and page.evaluate("location.hash") == ""


def test_equal_rows_keep_their_order_and_cells_sort_by_their_levels(page: Any) -> None:
    page.locator("table.trials thead").get_by_role("button", name="Seed").click()
    numbers, seeds = (list(map(int, column(page, "table-2", place))) for place in (NUMBER, SEED))
    assert list(zip(seeds, numbers, strict=True)) == sorted(zip(seeds, numbers, strict=True))

    page.locator("table.results thead").first.get_by_role("button", name="Cell").click()
    rates = [text.split(",")[0] for text in column(page, "table-1", 0)]
    assert rates == [f"lr={rate}" for rate in ("0.03", "0.1", "0.3") for _ in range(4)]


def test_every_head_of_a_column_but_those_of_drawings_sorts_its_table(page: Any) -> None:
    heads = page.locator("table.sortable thead th[scope=col]:not(.marked)")
    buttons = page.locator("table.sortable thead th .sort")
    assert heads.count() == buttons.count() >= 20

    for nth in range(buttons.count()):
        buttons.nth(nth).evaluate("(button) => button.click()")
        assert page.evaluate(TOGETHER)
    assert page.locator("th[aria-sort]").count() == page.locator("table.sortable").count()


def test_a_link_sorts_and_filters_and_says_how_many_are_shown(page: Any, page_file: Path) -> None:
    visit(page, page_file, "hide=skip:no&sort=table-1:3d,nowhere:1a,table-2:99d&what=1")

    means = [float(text.split("\u202f")[0]) for text in column(page, "table-1", 2)]
    assert len(means) == 6 and means == sorted(means, reverse=True)
    assert all("skip=yes" in text for text in column(page, "table-2", CELL))
    said = page.locator(".rows-shown").all_inner_texts()
    assert sum("6 of 12 cells shown" in text for text in said) == 3  # results, resources, settings
    assert "30 of 60 trials shown" in said[-1]
    page.locator(".rows-shown button").last.click()
    assert len(column(page, "table-2", NUMBER)) == 60 and page.locator(".rows-shown").last.inner_text() == ""


def test_an_address_opens_and_marks_a_trial_also_where_a_filter_leaves_it_out(page: Any, page_file: Path) -> None:
    visit(page, page_file, "hide=skip:no&at=trial-16")

    assert page.locator("#trial-16.here").is_visible() and page.locator("#more-16 dl.set").is_visible()
    said = page.locator(".rows-shown").last.inner_text()
    assert "30 of 60 trials shown. Trial 16 is not among them; it is shown because the address leads to it" in said
    assert page.locator("tr.here").count() == 1

    visit(page, page_file, "trial-6000")
    said = page.locator(".rows-shown").last.inner_text()
    assert said == "Trial 6000 is not listed on this page: “cifarsweep show judged/6000” tells of it, if there is one."
    assert page.locator("tr.here").count() == 0


@pytest.mark.parametrize("fragment", ["trial-16", "hide=lr:0.03&at=trial-35", "error-4"])
def test_an_address_shows_its_row_below_the_head_of_the_table(page: Any, page_file: Path, fragment: str) -> None:
    visit(page, page_file, fragment)

    below = f"""() => {{
      const part = document.getElementById({fragment.split("=")[-1]!r});
      const {{ top }} = part.getBoundingClientRect();
      const head = part.closest("table").tHead.rows[0].cells[0].getBoundingClientRect();
      return top >= head.bottom && top < innerHeight; }}"""
    page.wait_for_function(below)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate(below)


def test_a_row_opens_by_mouse_and_keyboard_and_the_same_link_leads_there_again(page: Any) -> None:
    page.locator("#trial-1").scroll_into_view_if_needed()
    opens = page.locator("#trial-1 .opens")
    opens.press("Enter")
    assert opens.get_attribute("aria-expanded") == "true"
    assert page.locator("#more-1").inner_text().split()[0] == "Settings"
    page.locator("#trial-1 td").nth(4).click()
    assert opens.get_attribute("aria-expanded") == "false" and not page.locator("#more-1").is_visible()

    failed = page.get_by_role("link", name="1 failed")
    for _ in range(2):
        failed.evaluate("(link) => link.click()")
        page.wait_for_selector("#error-4", state="visible")
        page.evaluate("document.querySelector('#more-4 details').open = false")


def test_without_scripts_every_row_can_be_opened_and_read(show: Any, page_file: Path) -> None:
    page = show(page_file, java_script_enabled=False).page

    assert page.locator(".sort, .opens, .rows-shown").count() == 0
    page.locator("#more-3 summary").click()
    assert page.locator("#more-3 dl.last").is_visible()


def test_paper_tells_of_every_trial_and_has_no_controls(page: Any) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert page.locator("#more-3 dl.set").is_visible()
    for control in (".opens", ".contents", ".rows-shown button"):
        assert page.locator(f"{control}:visible").count() == 0, control
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.locator("#more-3").is_visible()


HOSTILE = "<img src=x onerror=window.hacked=1>\"'&</script>"


def test_hostile_names_sort_and_stay_texts(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"batch_size": (8, 16)}, seeds=1)
    cells = tuple(cell.model_copy(update={"name": f"{HOSTILE}{at}"}) for at, cell in enumerate(study.cells))
    report = make.finished(study.model_copy(update={"cells": cells}))
    final = {**report.trials[0].final, HOSTILE: 0.5}
    report = replace(report, trials=tuple(replace(trial, final=final) for trial in report.trials))
    found = show(write_pages([analyse(report)], tmp_path)[0])

    visit(found.page, tmp_path / "tried.html", "sort=table-2:3d&at=trial-1")

    assert HOSTILE in found.page.locator("#more-1 dl.last").inner_text()
    assert [text[-1] for text in column(found.page, "table-2", CELL)] == ["1", "0"]
    assert found.page.evaluate("window.hacked") is None and found.page.locator("main img").count() == 0
    assert found.complaints == []


def test_a_study_with_nothing_to_draw_sorts_its_tables(show: Any, tmp_path: Path) -> None:
    waiting = replace(EXAMPLES["crossed"](), trials=(), series={}, confusion={})
    opened = show(write_pages([analyse(waiting)], tmp_path)[0])

    opened.page.locator("table.differing thead").get_by_role("button", name="optimizer.lr").click()

    assert opened.page.locator("table.differing th[aria-sort=ascending]").count() == 1
    assert opened.complaints == []


@pytest.mark.parametrize(("width", "lines"), [(1440, 2), (1024, 2), (360, 3)])
def test_names_of_cells_take_few_lines_beside_all_columns(show: Any, page_file: Path, width: int, lines: int) -> None:
    page = show(page_file, width=width).page

    found = page.evaluate("""[...document.querySelectorAll(".results:not(.resources) .name")].map((name) => {
      const range = document.createRange();
      range.selectNodeContents(name);
      return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
    })""")

    assert len(found) == 12 and max(found) <= lines
    fits = "(box) => box.scrollWidth <= box.clientWidth"
    assert page.locator(".scroll:has(> .results:not(.resources))").first.evaluate(fits) is (width > 1000)
