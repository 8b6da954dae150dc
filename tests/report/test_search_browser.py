"""The section on a search in a real browser: a mark tells of its point and leads to its trial, by pointer and keys."""

from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_pages

pytestmark = pytest.mark.long

MARK = "#figure-history a[data-point='{}']"
#: The places of the marks of the plot of two parameters.
PLACES = """Array.from(document.querySelectorAll('#pair-plane circle'),
  (mark) => ['cx', 'cy'].map((at) => mark.getAttribute(at)))"""
TOLD = "document.querySelector('.point-told')"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a search of 60 points."""
    return write_pages([analyse(EXAMPLES["searched"]())], tmp_path_factory.mktemp("searched"))[0]


@pytest.fixture
def opened(show: Any, path: Path) -> Any:
    """The page as it is at first."""
    found = show(path)
    found.page.wait_for_selector("#curves-plot .trace")
    return found


def test_a_click_on_a_mark_leads_to_its_trial(opened: Any) -> None:
    opened.page.click(MARK.format(44))

    assert opened.page.evaluate("location.hash") == "#trial-44"
    assert opened.page.locator("#trial-44").is_visible()
    assert opened.complaints == []


def test_arrow_keys_move_between_marks_and_enter_leads_to_the_trial(opened: Any) -> None:
    page = opened.page
    page.focus(MARK.format(44))

    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.point") == "45"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(f"{TOLD}.textContent").startswith("#43: ")
    page.keyboard.press("Enter")

    assert page.evaluate("location.hash") == "#trial-43"


def test_a_point_under_the_pointer_is_told_and_marked_in_every_plot(opened: Any) -> None:
    page = opened.page
    page.locator(MARK.format(44)).scroll_into_view_if_needed()
    # What is told goes when the page is scrolled, which the browser says at the next frame.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.hover(MARK.format(44))

    assert page.evaluate(f"{TOLD}.textContent") == (
        "#44: 94.4\N{NARROW NO-BREAK SPACE}%; lr 0.0182, weight_decay 1.54e-05, batch_size 256, optimizer adamw"
    )
    assert page.locator(".of-search .point.on").count() == page.locator(".of-search .points").count()
    page.hover("h1")
    assert page.evaluate(f"{TOLD}.hidden") and page.locator(".of-search .point.on").count() == 0


def test_without_a_change_the_marks_stay_where_the_server_put_them(show: Any, path: Path, browser: Any) -> None:
    without = show(path, java_script_enabled=False).page
    html = without.content()
    with_script = show(path).page
    with_script.wait_for_selector("#curves-plot .trace")

    read = browser.new_context().new_page()
    read.set_content(html.split("<script")[0])
    before, after = (
        [[float(part.rstrip("%")) for part in place] for place in page.evaluate(PLACES)] for page in (read, with_script)
    )
    read.context.close()
    assert after == [pytest.approx(place, abs=0.06) for place in before] and len(before) > 50


def test_two_parameters_are_chosen_and_the_address_keeps_them(opened: Any, show: Any, path: Path) -> None:
    page = opened.page
    page.select_option("#pair-x", label="weight_decay")
    page.select_option("#pair-y", label="optimizer")
    page.uncheck("#pair-x-log")
    chosen = page.evaluate(PLACES)

    assert {y for _, y in chosen} == {"25%", "75%"}
    assert page.locator("#pair-y-log").is_disabled() and page.locator("#pair-x-name").inner_text() == "weight_decay"
    assert page.locator("#pair-plane .left span").all_inner_texts() == ["sgd", "adamw"]
    address = page.evaluate("location.href")
    assert "pair-x=optimizer.weight_decay:linear" in address and "pair-y=optimizer.name" in address
    again = show(path).page
    again.goto(address)
    again.reload()
    again.wait_for_selector("#curves-plot .trace")
    assert again.evaluate(PLACES) == chosen
    assert not again.locator("#pair-x-log").is_checked()


def test_newer_data_keep_the_parameters_that_were_chosen(opened: Any) -> None:
    page = opened.page
    page.select_option("#pair-x", label="weight_decay")
    chosen = page.evaluate(PLACES)

    page.evaluate(
        """() => {
          const detail = JSON.parse(document.getElementById('report-data').textContent);
          for (const mark of document.querySelectorAll('#pair-plane circle')) mark.setAttribute('cx', '0%');
          document.dispatchEvent(new CustomEvent('newer-data', { detail }));
        }"""
    )

    assert page.evaluate(PLACES) == chosen and page.locator("#pair-x option:checked").inner_text() == "weight_decay"
    assert opened.complaints == []


def test_an_address_with_an_unknown_parameter_shows_what_the_page_shows(show: Any, path: Path, opened: Any) -> None:
    other = show(path).page
    other.goto(f"{path.as_uri()}#pair-x=nonsense&pair-y=:log")
    other.reload()
    other.wait_for_selector("#curves-plot .trace")

    assert other.evaluate(PLACES) == opened.page.evaluate(PLACES)


@pytest.mark.parametrize("width", [360, 1280])
def test_no_plot_is_wider_than_the_page(show: Any, path: Path, width: int) -> None:
    page = show(path, width=width).page
    page.wait_for_selector("#curves-plot .trace")

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate("document.querySelector('#figure-history .points').getBoundingClientRect().width")
        > 0.6 * width - 80
    )
