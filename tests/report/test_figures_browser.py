"""Figures in a real browser: they draw the chosen cells, and empty figures draw nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything import everything
from support.programs import program_report, program_study

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

TRACES = "document.querySelectorAll('#{} .scatterlayer .trace').length"
PRESSED = "document.querySelectorAll('#legend [aria-pressed=true]').length"
MARKED = ".point, .lines path, image"
MARKS = f"Array.from(document.querySelectorAll('.plot'), (plot) => plot.querySelectorAll('{MARKED}').length)"


@pytest.fixture(scope="module")
def whole(make: Any, show: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page with every figure, opened once."""
    opened = show(write_pages([analyse(everything(make))], tmp_path_factory.mktemp("whole"))[0])
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
    """Wait for the figures, which are drawn one by one: each one drawn asks for the next in a task of its own.

    The page hears of another colour scheme with its next frame, and has a task between any two of these tasks.
    """
    page.wait_for_selector(".panel:last-child .plot .trace")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(
        "new Promise((done) => { let left = 50; (function wait() { left-- ? setTimeout(wait) : done(); })(); })"
    )


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


def test_ticks_of_a_logarithmic_axis_are_whole_numbers_that_rise(page: Any) -> None:
    ticks = "document.querySelectorAll('#curves-plot .xtick text')"
    page.check("#log-x")
    texts = page.evaluate(f"Array.from({ticks}, (text) => text.textContent)")
    assert texts == ["50", "100", "200", "500"]

    page.evaluate("Plotly.relayout('curves-plot', {'xaxis.range': [2, 2.25]})")

    drawn(page)
    zoomed = [float(text) for text in page.evaluate(f"Array.from({ticks}, (text) => text.textContent)")]
    assert len(zoomed) >= 2 and zoomed == sorted(zoomed) and zoomed[0] == 100
    page.evaluate("Plotly.relayout('curves-plot', {'xaxis.autorange': true})")


def test_colours_are_explained_where_they_are_used_and_the_focus_stays(page: Any) -> None:
    for figure in ("costs", "classes", "resources"):
        assert page.locator(f"#figure-{figure} .key .name").count() == 4, figure
    page.locator("#legend button").nth(2).click()
    page.focus("#show-all")

    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.closest('#legend') !== null")


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


def test_numbers_in_the_matrix_can_be_read_on_every_shade(page: Any) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        drawn(page)
        low, high = page.evaluate("document.getElementById('confusion-plot').data[0].colorscale.map(([, one]) => one)")
        inks = page.evaluate(
            "[...new Set([...document.querySelectorAll('#confusion-plot .heatmap-label text')]"
            ".map((text) => getComputedStyle(text).fill))]"
        )
        assert len(inks) == 1
        for share in np.linspace(0, 1, 21):
            ground = [a + (b - a) * share**0.5 for a, b in zip(from_hex(low), from_hex(high), strict=True)]
            assert contrast(channels(inks[0]), ground) >= 4.5, (scheme, share)
    page.emulate_media(color_scheme="light")


def from_hex(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


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
    page = show(write_pages([analyse(report)], tmp_path)[0], 360, 800).page
    drawn(page)
    below = "document.getElementById('made').getBoundingClientRect().top + scrollY"
    before = page.evaluate(below)

    page.evaluate("for (const plot of document.querySelectorAll('.plot')) plot.firstChild.style.display = 'none'")

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(below) == before


def test_rows_on_a_phone_are_named_alike(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"optimizer.lr": (0.01, 0.00025), "model.skip": (False, True)})  # the names differ in length
    page = show(write_pages([analyse(make.finished(study, [0.5] * 4))], tmp_path)[0], 360, 800).page

    page.locator("#finals-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#finals-plot .ytick")

    names = page.locator("#finals-plot .ytick").all_text_contents()
    assert len(names) == 4 and not any("=" in name for name in names)


def test_long_names_can_be_told_apart_and_cells_without_a_result_are_named(
    make: Any, show: Any, tmp_path: Path
) -> None:
    study = make.study({"batch_size": (8, 16, 32)})
    start = "a wide network with a long warm-up and a great many other things of note, and then some more, "
    cells = tuple(
        cell.model_copy(update={"name": start + f"{end} 👩🏽‍🔬"}) for cell, end in zip(study.cells, "abc", strict=True)
    )
    study = study.model_copy(update={"cells": cells})
    report = make.finished(study)
    waiting = [trial for trial in report.trials if trial.cell != cells[2].name]
    page = show(write_pages([analyse(replace(report, trials=tuple(waiting)))], tmp_path)[0]).page

    page.wait_for_selector("#finals-plot .ytick")
    labels = page.locator("#finals-plot .ytick").all_text_contents()
    assert len(set(labels)) == 3 and all(
        label.endswith(f"{end} 👩🏽‍🔬") for label, end in zip(labels, "abc", strict=True)
    )
    page.emulate_media(media="print")
    clipped = (
        "[...document.querySelectorAll('#legend .name')].filter((name) => name.scrollHeight > name.clientHeight + 1)"
    )
    assert page.evaluate(f"{clipped}.length") == 0


def test_an_arm_that_was_given_a_name_keeps_it_on_a_phone(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"batch_size": (64, 128)})
    named = study.cells[0].model_copy(update={"name": "a warm start and all of it"})
    report = make.finished(study.model_copy(update={"cells": (*study.cells[1:], named)}))
    page = show(write_pages([analyse(report)], tmp_path)[0], 360, 800).page

    page.locator("#finals-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#finals-plot .ytick")

    assert page.locator("#finals-plot .ytick").all_text_contents() == ["128", "a warm start and allof it"]


def test_a_choice_of_one_is_hidden(make: Any, show: Any, tmp_path: Path) -> None:
    report = make.finished(make.study({"batch_size": (64, 128)}))
    slower = tuple(replace(trial, elapsed_s=10.0 + trial.number) for trial in report.trials)
    page = show(write_pages([analyse(replace(report, trials=slower))], tmp_path)[0]).page

    assert page.locator("#cost").count() == 1 and not page.locator("#cost").is_visible()


def test_margins_of_long_names_settle_on_a_phone(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({"optimizer.lr": tuple(0.00258158 + place / 97 for place in range(8)), "batch_size": (64, 128)})
    opened = show(write_pages([analyse(make.finished(study))], tmp_path)[0], 360, 800)

    opened.page.wait_for_selector("#finals-plot .ytick")
    opened.page.wait_for_timeout(300)

    assert opened.complaints == []  # plotly warns of margins that it gave up to fit
    names = opened.page.locator("#finals-plot .ytick").all()
    assert min(name.bounding_box()["x"] for name in names) >= 0


@pytest.mark.parametrize(("metric", "in_percent"), [("<b>dev/error", False), ("dev/accuracy", True)])
def test_figures_of_a_program_are_in_the_unit_of_its_metric(
    metric: str, in_percent: bool, show: Any, tmp_path: Path
) -> None:
    """Given two logged steps and a value below 0, then all is drawn, and only shares are in per cent."""
    values = [0.9, 0.8, 0.7] if in_percent else [31.5, -2.0, 12.0]
    report = program_report(program_study(metric), values, steps=2)
    opened = show(write_pages([analyse(report)], tmp_path)[0])
    opened.page.wait_for_selector("#finals-plot .scatterlayer .trace")
    opened.page.wait_for_selector("#curves-plot .scatterlayer .trace")

    ticks = [text for text in opened.page.locator("#finals-plot .xtick").all_text_contents() if text]
    shown = opened.page.evaluate("document.getElementById('finals-plot').layout.xaxis.range")

    assert opened.complaints == [] and ticks
    assert all(("%" in tick) == in_percent for tick in ticks)
    assert opened.page.locator("#finals-plot .xtitle").text_content() == metric
    assert shown[0] < min(values) and shown[1] > max(values)
    assert opened.page.locator("#y-axis option").first.inner_text() == metric
