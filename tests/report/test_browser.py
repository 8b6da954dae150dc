"""Pages in a real browser: they send no request, draw, switch, and run no text as a script."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report.palette import ORDERED
from cifarsweep.report.render import write_pages

HOSTILE = "<script>window.hacked=1</script><img src=http://x.test/ onerror=window.hacked=1>\"'</script>%{x}"
LINES = "document.querySelectorAll('#curves-plot .scatterlayer .trace').length"
BOTH = pytest.mark.parametrize("single_file", [False, True], ids=["with plotly beside", "single file"])


@pytest.fixture(scope="module")
def page_file(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages([analyse(make.finished(make.study()))], tmp_path_factory.mktemp("pages"))[0]


@pytest.fixture(scope="module")
def shared_page(show: Any, page_file: Path) -> Any:
    opened = show(page_file)
    opened.page.wait_for_selector("#finals-plot .point")
    return opened


@pytest.fixture
def desk(shared_page: Any) -> Any:
    """A page on a wide screen, opened once because that takes seconds, with its controls as they were at first."""
    page = shared_page.page
    page.emulate_media(color_scheme="light")
    page.check("input[name=x][value=steps]", force=True)
    page.select_option("#y-axis", "0")
    page.uncheck("#log-scale")
    page.evaluate("document.getElementById('show-all').click()")
    return shared_page


@BOTH
def test_figures_are_drawn_without_a_request(make: Any, show: Any, tmp_path: Path, single_file: bool) -> None:
    path = write_pages([analyse(make.finished(make.study()))], tmp_path, single_file=single_file)[0]

    opened = show(path)

    opened.page.wait_for_selector("#finals-plot .point")
    assert opened.page.evaluate(LINES) == 12  # a band and a mean for each of 6 cells
    assert opened.complaints == []
    beside = [] if single_file else [(tmp_path / "plotly.min.js").as_uri()]
    assert [url for url in opened.requests if not url.startswith("blob:")] == [path.as_uri(), *beside]


@BOTH
def test_hostile_texts_run_nothing(make: Any, show: Any, tmp_path: Path, single_file: bool) -> None:
    study = make.study({}, question=HOSTILE)
    name = HOSTILE + "W" * (300 - len(HOSTILE))
    study = study.model_copy(update={"cells": (study.cells[0].model_copy(update={"name": name}),)})
    report = make.finished(study)
    failed = make.trial(9, name, 9, state="failed", final={}, error=f"\x00\x1b[31m{HOSTILE}")
    names = {"train/loss": HOSTILE}
    series = {(number, names.get(metric, metric)): values for (number, metric), values in report.series.items()}
    report = replace(report, trials=(*report.trials, failed), series=series)
    path = write_pages([analyse(report)], tmp_path, single_file=single_file)[0]

    opened = show(path, 360)

    opened.page.wait_for_selector("#finals-plot .point")
    opened.page.select_option("#y-axis", label=HOSTILE)
    opened.page.locator("#finals-plot .point").first.hover(force=True)
    opened.page.wait_for_selector("#finals-plot .hovertext")
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.locator("#curves-plot a, #finals-plot .hovertext a, main img").count() == 0
    assert "<script>window.hacked" in opened.page.locator("#finals-plot .hovertext").text_content()
    assert opened.complaints == []
    assert not [url for url in opened.requests if not url.startswith(("file:", "blob:"))]


def test_the_policy_stops_a_script_that_got_in_anyway(show: Any, page_file: Path, tmp_path: Path) -> None:
    (tmp_path / "plotly.min.js").write_bytes((page_file.parent / "plotly.min.js").read_bytes())
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_text(page_file.read_text().replace("</main>", "<script>window.hacked=1</script></main>"))

    opened = show(spoiled)

    opened.page.wait_for_selector("#finals-plot .point")
    assert opened.page.evaluate("window.hacked") is None
    assert "Content Security Policy" in opened.complaints[0]


def test_switching_the_x_axis_changes_its_data_and_title(desk: Any) -> None:
    opened = desk
    seen = {"steps": opened.x_data()}

    for axis in ("epoch", "images", "elapsed_s"):
        opened.page.check(f"input[name=x][value={axis}]", force=True)
        seen[axis] = opened.x_data()

    assert seen["steps"][:2] == [50, 100]
    assert seen["epoch"] == pytest.approx([step / 100 for step in seen["steps"]], rel=1e-6)
    assert seen["images"] == pytest.approx([step * 64 for step in seen["steps"]], rel=1e-6)
    assert 0.019 < seen["elapsed_s"][0] / seen["steps"][0] < 0.023
    assert opened.page.locator("#curves-plot .xtitle").text_content() == "Training time (s)"


def test_controls_work_by_keyboard(desk: Any) -> None:
    page = desk.page

    page.focus("input[name=x][value=steps]")
    page.keyboard.press("ArrowRight")
    page.focus("#y-axis")
    page.keyboard.press("ArrowDown")
    page.focus("#log-scale")
    page.keyboard.press("Space")

    assert page.locator("#curves-plot .xtitle").text_content() == "Epochs"
    assert page.locator("#curves-plot .ytitle").text_content() == "Training accuracy"
    assert page.evaluate("document.getElementById('curves-plot')._fullLayout.yaxis.type") == "log"


def test_the_mean_on_the_screen_is_the_mean_of_the_seeds(make: Any, show: Any, tmp_path: Path) -> None:
    study = make.study({}, seeds=3)
    steps = np.array([1, 2])
    series = {(n, "val/accuracy"): (steps, np.array([0.2, 0.3]) * (n + 1)) for n in range(3)}
    path = write_pages([analyse(make.report(study, [make.trial(n, "base", n) for n in range(3)], series))], tmp_path)[0]

    page = show(path).page

    drawn = page.evaluate("Array.from(document.getElementById('curves-plot').data.at(-1).y)")
    assert drawn == pytest.approx([0.4, 0.6])
    text = page.evaluate("document.getElementById('curves-plot').data.at(-1).text")
    assert text[0] == "40.00 % (0.00 % to 89.68 %) (n = 3)"


@pytest.mark.parametrize(("seeds", "said"), [(2, "50.50 % (50.00 % to 51.00 %)"), (3, "51.00 % ± 2.48 %")])
def test_the_spread_on_the_screen_is_half_of_the_interval_or_the_range_of_two(
    make: Any, show: Any, tmp_path: Path, seeds: int, said: str
) -> None:
    study = make.study({}, seeds=seeds)
    series = {(n, "val/accuracy"): (np.array([1]), np.array([0.5 + 0.01 * n])) for n in range(seeds)}
    trials = [make.trial(n, "base", n) for n in range(seeds)]
    path = write_pages([analyse(make.report(study, trials, series))], tmp_path)[0]

    text = show(path).page.evaluate("document.getElementById('curves-plot').data.at(-1).text")

    assert text[0] == f"{said} (n = {seeds})"


@pytest.mark.parametrize("name", ["tried.html", "index.html"])
def test_nothing_scrolls_sideways_on_a_phone(show: Any, page_file: Path, name: str) -> None:
    page = show(page_file.with_name(name), 360, 800, color_scheme="dark").page

    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_texts_and_lines_stand_out_in_light_and_dark(show: Any, page_file: Path) -> None:
    for scheme in ("light", "dark"):
        page = show(page_file.with_name("index.html"), color_scheme=scheme).page  # the same style, and it opens faster
        names = ["ink", "soft", "link", "warn", "good", *(f"c{number}" for number in range(7)), "strong-line"]
        names += [f"s{number}" for number in range(len(ORDERED))]

        for name in names:
            least = 3.0 if name[1:].isdigit() or name == "strong-line" else 4.5
            assert contrast(colour(page, name), colour(page, "paper")) >= least, (scheme, name)


def colour(page: Any, name: str) -> str:
    return str(page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')")).strip()


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(hex_colour: str) -> float:
    parts = [int(hex_colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_figures_follow_a_change_of_the_colour_scheme_and_paper_is_light(desk: Any) -> None:
    page = desk.page
    first_line = "document.getElementById('curves-plot').data.at(-1).line.color"
    light = page.evaluate(first_line)

    page.emulate_media(color_scheme="dark")
    # Not wait_for_function: that evaluates a string inside the page, which the policy forbids.
    changed = f"(look) => {first_line} !== '{light}' ? look(true) : setTimeout(wait, 20, look)"
    assert page.evaluate(f"new Promise(function wait(look) {{ ({changed})(look); }})")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(first_line) == light
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(first_line) != light


def test_paper_shows_whole_figures_and_the_screen_has_its_width_back(desk: Any) -> None:
    page = desk.page
    width = "document.querySelector('#curves-plot .main-svg').getBoundingClientRect().width"
    before = page.evaluate(width)

    page.evaluate("addEventListener('beforeprint', () => { window.printed = " + width + " })")
    page.pdf()

    assert 0 < page.evaluate("window.printed") <= 680 < before
    assert page.evaluate(width) == before


def test_no_button_sends_a_figure_anywhere(desk: Any) -> None:
    titles = desk.page.evaluate("Array.from(document.querySelectorAll('.modebar-btn'), (b) => b.dataset.title)")

    assert len(titles) == 12
    assert set(titles) == {"Download plot", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


def test_drawing_moves_nothing_below_the_figures(desk: Any) -> None:
    page = desk.page
    drawn = page.evaluate("document.getElementById('made').getBoundingClientRect().top + scrollY")

    page.evaluate("for (const plot of document.querySelectorAll('.plot')) plot.firstChild.style.display = 'none'")
    empty = page.evaluate("document.getElementById('made').getBoundingClientRect().top + scrollY")
    page.evaluate("for (const plot of document.querySelectorAll('.plot')) plot.firstChild.style.display = ''")

    assert empty == drawn


def test_without_plotly_beside_it_the_page_says_what_is_missing(show: Any, page_file: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.html"
    alone.write_bytes(page_file.read_bytes())

    page = show(alone).page

    assert page.locator("#no-plotly").is_visible()
    assert page.locator("figure.drawn").count() == 0
    assert page.locator("table.results tbody tr").count() == 6


def test_forty_cells_and_a_study_of_one_are_drawn(make: Any, show: Any, tmp_path: Path) -> None:
    many = make.finished(make.study({"batch_size": tuple(range(1, 41))}, name="many", seeds=2), [0.5] * 40, points=20)
    one = make.finished(make.study({}, name="one", seeds=1))
    first, second, _ = write_pages([analyse(many), analyse(one)], tmp_path)

    assert show(first, 360).page.evaluate(LINES) == 40  # without bands, which would hide each other
    opened = show(second)
    assert opened.page.evaluate(LINES) == 1
    assert opened.page.locator("#legend").is_hidden()
    assert opened.complaints == []
