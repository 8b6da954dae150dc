"""The figures in a real browser: what is chosen is what is drawn, and nothing is drawn into nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything import everything

from cifarsweep.report.pages import write_pages

TRACES = "document.querySelectorAll('#{} .scatterlayer .trace').length"
PRESSED = "document.querySelectorAll('#legend [aria-pressed=true]').length"
MARKED = ".point, .lines path, image"
MARKS = f"Array.from(document.querySelectorAll('.plot'), (plot) => plot.querySelectorAll('{MARKED}').length)"


@pytest.fixture(scope="module")
def whole(make: Any, show: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page with every figure, opened once."""
    opened = show(write_pages([everything(make)], tmp_path_factory.mktemp("whole"))[0])
    drawn(opened.page)
    return opened


@pytest.fixture
def page(whole: Any) -> Any:
    """The page with its controls as they were at first."""
    page = whole.page
    page.evaluate("document.getElementById('show-all').click()")
    for name, value in (("x", "steps"), ("cost", "0")):
        page.check(f"input[name={name}][value='{value}']", force=True)
    for name in ("log-x", "log-scale", "log-cost", "close-up"):
        page.uncheck(f"#{name}")
    page.select_option("#smoothing", "0")
    drawn(page)
    return page


def drawn(page: Any) -> None:
    """Wait for the figures, which are drawn one by one; each one drawn asks for the next in a task of its own."""
    page.wait_for_selector(".panel:last-child .plot .trace")
    page.evaluate("new Promise((done) => setTimeout(done, 200))")


def lines(page: Any) -> list[list[float]]:
    """The y values of the means in the main figure."""
    found: list[list[float]] = page.evaluate(
        "document.getElementById('curves-plot').data.filter((trace) => !trace.fill).map((trace) => Array.from(trace.y))"
    )
    return found


def test_every_figure_is_drawn_and_none_is_empty(whole: Any, page: Any) -> None:
    marks = page.evaluate(MARKS)

    assert len(marks) == 8  # six figures, and two panels of resources
    assert min(marks) > 0
    assert whole.complaints == []


def test_a_click_isolates_a_cell_and_the_next_one_shows_all(page: Any) -> None:
    second, last = page.locator("#legend button").nth(1), page.locator("#legend button").nth(3)

    second.click()
    assert page.evaluate(TRACES.format("curves-plot")) == 2
    last.click()
    drawn(page)
    assert last.get_attribute("aria-pressed") == "true"
    assert (page.evaluate(PRESSED), page.evaluate(TRACES.format("curves-plot"))) == (1, 2)
    assert page.evaluate(TRACES.format("classes-plot")) == 1
    last.click()
    assert (page.evaluate(PRESSED), page.evaluate(TRACES.format("curves-plot"))) == (0, 8)


def test_cells_are_chosen_and_compared_by_keyboard(page: Any) -> None:
    page.focus("#legend button:nth-child(1)")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Enter")

    assert (page.evaluate(PRESSED), page.evaluate(TRACES.format("curves-plot"))) == (2, 4)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert (page.evaluate(PRESSED), page.evaluate(TRACES.format("curves-plot"))) == (0, 8)


def test_smoothing_makes_a_curve_calmer_and_keeps_its_level(page: Any) -> None:
    page.select_option("#y-axis", label="Training accuracy")
    before = np.array(lines(page)[0])

    page.select_option("#smoothing", label="more")

    after = np.array(lines(page)[0])
    assert np.abs(np.diff(after, 3)).mean() < np.abs(np.diff(before, 3)).mean() / 4
    assert np.abs(after - before).max() < 0.02  # at its ends, too
    page.select_option("#y-axis", "0")


def test_a_smoothed_constant_stays_what_it_is(page: Any) -> None:
    page.select_option("#y-axis", label="GPU busy")
    page.select_option("#smoothing", label="much")

    assert np.allclose(lines(page)[0], 80.0)
    page.select_option("#y-axis", "0")


@pytest.mark.parametrize(("axis", "title"), [("flops", "Training FLOPs (T)"), ("energy_j", "Energy (kJ)")])
def test_flops_and_energy_are_axes_in_units_that_can_be_read(page: Any, axis: str, title: str) -> None:
    page.check(f"input[name=x][value={axis}]", force=True)

    assert page.locator("#curves-plot .xtitle").text_content() == title


def test_both_axes_can_be_logarithmic(page: Any) -> None:
    page.check("#log-x")
    page.check("#log-scale")

    types = "['xaxis', 'yaxis'].map((axis) => document.getElementById('curves-plot')._fullLayout[axis].type)"
    assert page.evaluate(types) == ["log", "log"]
    low, high = page.evaluate("document.getElementById('curves-plot')._fullLayout.xaxis.range")
    assert 10**low < 50 < 600 < 10**high < 700


def test_another_cost_has_another_axis_and_its_own_front(page: Any) -> None:
    x = "Array.from(document.getElementById('costs-plot').data[0].x)"
    assert page.evaluate(x) == [1, 2, 3]  # minutes

    page.locator("input[name=cost]").nth(1).check(force=True)

    assert page.evaluate(x) == [6, 12, 18]
    assert page.locator("#costs-plot .xtitle").text_content() == "Energy (kJ)"
    assert "3 lr=0.003, skip=no" in page.locator("#costs-front").text_content()


def test_a_closer_look_leaves_out_the_cell_at_chance(page: Any) -> None:
    ends = "document.getElementById('{}').layout.{}.range[0]"
    assert page.evaluate(ends.format("finals-plot", "xaxis")) < 0.1

    page.check("#close-up")
    drawn(page)

    for figure in (("finals-plot", "xaxis"), ("costs-plot", "yaxis"), ("gaps-plot", "xaxis")):
        assert page.evaluate(ends.format(*figure)) > 0.8, figure


def test_the_matrix_follows_its_cell_and_names_are_only_text(page: Any) -> None:
    page.select_option("#confusion-cell", "3")

    assert "aircraft for <b>bird</b> (30.0" in page.locator("#confusion-worst").text_content()
    z = page.evaluate("document.getElementById('confusion-plot').data[0].z")
    assert np.allclose(np.square(z), [[0.7, 0.3, 0], [0, 0.7, 0.3], [0.3, 0, 0.7]])
    assert "<b>bird</b>" in page.locator("#confusion-plot .ytick").all_text_contents()
    page.select_option("#confusion-cell", "2")


def test_texts_on_the_shades_can_be_read(page: Any) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        looks = page.evaluate(
            "Array.from(document.querySelectorAll('.shade'), (cell) => { const look = getComputedStyle(cell);"
            " return [look.color, look.backgroundColor]; })"
        )
        assert len(looks) == 4
        assert min(contrast(*map(channels, look)) for look in looks) >= 4.5, scheme
    page.emulate_media(color_scheme="light")


def channels(colour: str) -> list[float]:
    """Red, green and blue in 0..1 of `rgb(1, 2, 3)` or `color(srgb 0.1 0.2 0.3)`."""
    numbers = [float(part) for part in colour.replace(",", " ").rstrip(")").partition("(")[2].split() if part != "srgb"]
    return numbers[:3] if colour.startswith("color") else [number / 255 for number in numbers[:3]]


def contrast(one: list[float], other: list[float]) -> float:
    """Contrast ratio of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    darker, lighter = sorted(
        sum(
            weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
            for weight, part in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
        )
        for colour in (one, other)
    )
    return (lighter + 0.05) / (darker + 0.05)


def test_drawing_moves_nothing_and_a_phone_scrolls_only_down(make: Any, show: Any, tmp_path: Path) -> None:
    report = everything(make)
    cells = tuple(cell.model_copy(update={"name": cell.name + "W" * 200}) for cell in report.study.cells)
    names = {old.name: new.name for old, new in zip(report.study.cells, cells, strict=True)}
    report = replace(
        report,
        study=report.study.model_copy(update={"cells": cells}),
        trials=tuple(replace(trial, cell=names[trial.cell]) for trial in report.trials),
        confusion={names[name]: each for name, each in report.confusion.items()},
    )
    page = show(write_pages([report], tmp_path)[0], 360, 800).page
    drawn(page)
    below = "document.getElementById('made').getBoundingClientRect().top + scrollY"
    before = page.evaluate(below)

    page.evaluate("for (const plot of document.querySelectorAll('.plot')) plot.firstChild.style.display = 'none'")

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(below) == before


def test_rows_on_a_phone_are_named_alike(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"optimizer.lr": (0.01, 0.00025), "model.skip": (False, True)})  # the names differ in length
    page = show(write_pages([make.finished(study, [0.5] * 4)], tmp_path)[0], 360, 800).page

    page.locator("#finals-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#finals-plot .ytick")

    names = page.locator("#finals-plot .ytick").all_text_contents()
    assert len(names) == 4 and not any("=" in name for name in names)
