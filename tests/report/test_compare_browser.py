"""Two trials or two cells side by side, in a real browser."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

HOSTILE = "<img src=x onerror=window.hacked=1>\"'&,=#cell:</script>"
TRACES = "document.getElementById('compared-plot').data.filter(({ name }) => name).map(({ name }) => name)"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages([analyse(EXAMPLES["judged"]())], tmp_path_factory.mktemp("compared"))[0]


def visit(page: Any, path: Path, fragment: str = "") -> Any:
    page.goto("about:blank")
    page.goto(path.as_uri() + (f"#{fragment}" if fragment else ""))
    page.wait_for_selector("#finals-plot .point")
    return page


def lines(page: Any, title: str) -> list[str]:
    """The lines of the table below that title."""
    table = page.locator(f"dialog h3:text-is('{title}') + table tbody tr")
    return [" | ".join(row.inner_text().split("\t")) for row in table.all()]


def test_two_trials_are_chosen_compared_and_sent_as_a_link(show: Any, page_file: Path) -> None:
    opened = show(page_file)
    page = visit(opened.page, page_file)
    page.locator("#table-2").scroll_into_view_if_needed()

    for number in (7, 3, 16):
        page.get_by_role("checkbox", name=f"Compare trial {number}", exact=True).check()
    assert page.locator(".picked").inner_text().startswith("Trial 3 and Trial 16")
    assert not page.get_by_role("checkbox", name="Compare trial 7", exact=True).is_checked()
    page.locator(".picked .open").click()

    assert page.evaluate("location.hash") == "#compare=3,16"
    assert lines(page, "Settings") == [
        "model.skip | yes | no",
        "optimizer.name | adamw | sgd",
        "optimizer.lr | 0.03 | 0.1",
    ]
    results = lines(page, "Results")
    assert results[0] == "Test accuracy | 87.98 % | 91.46 %" and "Seed | 0 | 1" in results
    assert "The same in both: State done; Steps 600" in page.locator("dialog").inner_text()
    assert page.evaluate(TRACES) == ["Trial 3", "Trial 16"]
    page.select_option("#compared-y", label="Training loss")
    assert page.locator("#compared-plot .ytitle").text_content() == "Training loss"
    last = "[...document.getElementById('compared-plot').data].map(({ x }) => x.at(-1))"
    for axis, title in (("Epochs", "Epochs"), ("Training time", "Training time (s)")):
        page.select_option("#compared-x", label=axis)
        assert page.locator("#compared-plot .xtitle").text_content() == title
        assert page.evaluate(TRACES) == ["Trial 3", "Trial 16"]
    assert len(set(page.evaluate(last))) == 2, "each trial has its own time"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    page.locator(".picked").get_by_role("button", name="Clear").click()
    assert page.evaluate("location.hash") == "" and page.locator("input.pick:checked").count() == 0
    assert opened.complaints == []


def test_a_link_compares_two_cells_with_their_bands(show: Any, page_file: Path) -> None:
    opened = show(page_file, 360, 740)
    names = ["lr=0.03, optimizer=sgd, skip=no", "lr=0.3, optimizer=sgd, skip=yes"]

    page = visit(
        opened.page, page_file, "compare=" + ",".join(f"cell:{name.replace(', ', '%2C%20')}" for name in names)
    )

    assert lines(page, "Settings") == ["model.skip | no | yes", "optimizer.lr | 0.03 | 0.3"]
    assert lines(page, "Results")[0].startswith("Accuracy | 87.7") and page.evaluate(TRACES) == names
    assert page.evaluate("document.getElementById('compared-plot').data.length") == 4
    page.select_option("#compared-x", label="Training time")
    assert page.locator("#compared-plot .xtitle").text_content() == "Training time (s)"
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("dialog .close").click()
    assert page.locator("table.results input.pick:checked").count() == 2
    assert opened.complaints == []


BAD = [
    "compare=3,6000",
    "compare=3,3",
    "compare=cell:nobody,cell:nothing",
    "compare=3,cell:lr",
    "compare=,,",
    "compare=%E0%A4%A,3",
]


def test_what_nobody_knows_is_not_compared(show: Any, page_file: Path) -> None:
    opened = show(page_file)
    for fragment in BAD:
        page = visit(opened.page, page_file, fragment)
        assert not page.locator("dialog").is_visible(), fragment
        assert page.evaluate("location.hash") in ("", "#compare=3"), fragment
    assert opened.complaints == []


def test_hostile_names_stay_texts(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"batch_size": (8, 16)}, seeds=1)
    cells = tuple(cell.model_copy(update={"name": f"{HOSTILE}{at}"}) for at, cell in enumerate(study.cells))
    report = make.finished(study.model_copy(update={"cells": cells}))
    report = replace(
        report, trials=tuple(replace(one, final={**one.final, HOSTILE: 0.1 * one.number}) for one in report.trials)
    )
    path = write_pages([analyse(report)], tmp_path)[0]
    opened = show(path)
    page = visit(opened.page, path, "compare=0,1")
    assert any(HOSTILE in line for line in lines(page, "Results"))
    page.keyboard.press("Escape")

    for box in page.locator("table.results input.pick").all():
        box.check()
    page.locator(".picked .open").click()
    link = page.evaluate("location.hash.slice(1)")
    page = visit(page, path, link)

    assert HOSTILE in page.locator("dialog .heads").inner_text() and lines(page, "Settings") == ["batch_size | 8 | 16"]
    assert page.evaluate("window.hacked") is None and page.locator("dialog img").count() == 0
    assert opened.complaints == []


def test_paper_compares_nothing(show: Any, page_file: Path) -> None:
    page = visit(show(page_file).page, page_file, "compare=3,16")

    page.emulate_media(media="print")

    assert page.locator("dialog:visible, .picked:visible, .pick:visible").count() == 0


def test_points_of_a_search_are_compared_by_what_was_chosen_for_them(show: Any, tmp_path: Path) -> None:
    path = write_pages([analyse(EXAMPLES["searched"]())], tmp_path)[0]
    opened = show(path)

    page = visit(opened.page, path, "compare=7,21")  # one of them is no cell of the page

    settings = [line.split(" | ") for line in lines(page, "Settings")]
    assert [key for key, *_ in settings] == ["optimizer.lr", "optimizer.weight_decay", "batch_size", "optimizer.name"]
    assert all("–" not in texts for _, *texts in settings)
    assert [line.split(" | ")[0] for line in lines(page, "Results")] == ["Test accuracy"]
    assert opened.complaints == []
