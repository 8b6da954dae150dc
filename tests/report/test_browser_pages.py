"""Every page in a real browser: readable, reachable by keyboard, without requests and foreign scripts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_comparison, write_pages
from cifarsweep.spec.hypothesis import Faster, Greater

HOSTILE = "<script>window.hacked=1</script><img src=http://x.test/ onerror=window.hacked=1>\"'</script>%{x}"
ERROR = "Traceback (most recent call last):\nRuntimeError: boom"
PAGES = ("tried.html", "index.html", "tried+other.html")
EVERY_PAGE = pytest.mark.parametrize("name", PAGES)

#: Contrast of every text with what lies behind it (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio), the bad ones.
LOW_CONTRAST = """() => {
  const parse = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("color(") ? [red * 255, green * 255, blue * 255, alpha] : [red, green, blue, alpha];
  };
  const share = (part) => (part / 255 <= 0.04045 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * share(r) + 0.7152 * share(g) + 0.0722 * share(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, alpha] = parse(getComputedStyle(at).backgroundColor);
      if (alpha > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    const drawn = element.closest("script, style, .modebar, .heatmaplayer");
    if (!walker.currentNode.data.trim() || box.width < 2 || drawn) continue;
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    const [high, low] = [luminance(ink), luminance(behind(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) bad.push([walker.currentNode.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return bad;
}"""
#: Everything that takes the focus, without a name that a screen reader could say.
NAMELESS = """() => [...document.querySelectorAll(
  "a[href], button, input, select, summary, [tabindex='0'], [role=img]")]
  .filter((each) => each.checkVisibility() && !each.closest(".modebar"))
  .filter((each) => !(each.textContent.trim() || each.getAttribute("aria-label") || each.labels?.length
    || document.getElementById(each.getAttribute("aria-labelledby"))?.textContent.trim()))
  .map((each) => each.outerHTML.slice(0, 80))"""


def troubled(make: Any, **changes: Any) -> Any:
    """A study with everything that a page can have: verdicts, a failure, a takeover, other devices and versions."""
    yes, no = ({"model.skip": skip, "optimizer.lr": 1e-3} for skip in (True, False))
    hypotheses = (
        Greater(kind="greater", claim="The skip connection helps", a=yes, b=no),
        Faster(kind="faster", claim="It is sooner at 70 %", a=yes, b=no, by="elapsed_s", target=0.7),
    )
    report = make.finished(make.study(hypotheses=hypotheses, **changes))
    trials = list(report.trials)
    taken = (make.attempt(1, end="taken_over", host="node2", device="NVIDIA H200"), make.attempt(2))
    trials[2] = replace(trials[2], attempts=taken, steps=500, versions={"torch": "2.14.0"})
    failed = {"state": "failed", "outcome": None, "final": {}, "error": ERROR}
    trials[4] = replace(trials[4], **failed, attempts=(make.attempt(1, end="exception", error="RuntimeError: boom"),))
    return replace(report, trials=tuple(trials))


@pytest.fixture(scope="module")
def folder(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study, an index of two, and the two side by side."""
    root = tmp_path_factory.mktemp("pages")
    one, other = troubled(make), make.finished(make.study(name="other", seeds=4), [0.95, 0.93, 0.99, 0.91, 0.9, 0.9])
    write_pages([analyse(one), analyse(other)], root)
    write_comparison(compare(one, other), root)
    return root


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_every_page_has_contrast(show: Any, folder: Path, scheme: str) -> None:
    for name in PAGES:
        page = show(folder / name, color_scheme=scheme).page
        page.wait_for_timeout(300)  # for the figures

        assert page.evaluate(LOW_CONTRAST) == [], name


@EVERY_PAGE
def test_every_page_fits_a_phone_and_asks_for_nothing(show: Any, folder: Path, name: str) -> None:
    opened = show(folder / name, 360, 800)

    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    own = [(folder / name).as_uri(), (folder / "plotly.min.js").as_uri()]
    assert [url for url in opened.requests if url not in own and not url.startswith("blob:")] == []
    assert opened.complaints == []


@EVERY_PAGE
def test_whatever_takes_the_focus_has_a_name_and_shows_it(show: Any, folder: Path, name: str) -> None:
    page = show(folder / name).page

    assert page.evaluate(NAMELESS) == []
    page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(f"document.activeElement !== document.body && {outline}") == "solid"


def test_the_index_shows_answers_and_best_cells_on_a_phone(show: Any, folder: Path) -> None:
    page = show(folder / "index.html", 360, 800).page

    for text in ("undecided", "The skip connection helps:", "lr=0.003, skip=no"):
        box = page.get_by_text(text).first.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360, text


def test_an_error_is_found_from_the_table_of_results(show: Any, folder: Path) -> None:
    page = show(folder / "tried.html").page

    page.get_by_role("link", name="1 failed").click()
    assert page.evaluate("location.hash") == "#trial-4"
    assert page.locator("#error-4").is_visible()
    page.locator("#more-4 summary").click()
    assert not page.locator("#error-4").is_visible()
    page.locator("#trial-4").get_by_role("link", name="failed").click()

    assert page.locator("#error-4").is_visible()
    assert page.locator("#error-4").text_content() == ERROR


def test_hostile_texts_run_nothing_on_the_index_and_beside_another(make: Any, show: Any, tmp_path: Path) -> None:
    report = troubled(make, question=HOSTILE)
    attempts = (make.attempt(1, host=HOSTILE, device=HOSTILE, error=HOSTILE, end="exception"), make.attempt(2))
    trials = [replace(one, attempts=attempts, versions={HOSTILE: HOSTILE}) for one in report.trials[:3]]
    report = replace(report, trials=(*trials, *report.trials[3:]), database=HOSTILE, data_digest=HOSTILE)
    paths = [
        *write_pages([analyse(report)], tmp_path),
        write_comparison(compare(report, troubled(make, name="other")), tmp_path),
    ]

    for path in paths:
        opened = show(path, 360)
        opened.page.wait_for_timeout(200)
        assert opened.page.evaluate("window.hacked") is None
        assert opened.page.locator("main img").count() == 0
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
        assert opened.complaints == []
        assert not [url for url in opened.requests if not url.startswith(("file:", "blob:"))]


@EVERY_PAGE
def test_paper_cuts_nothing_off(show: Any, folder: Path, name: str) -> None:
    page = show(folder / name, 718, 1000).page  # A4 within margins, in pixels of CSS
    page.wait_for_timeout(200)

    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    cut = "[...document.querySelectorAll('.scroll, pre')].filter((e) => e.scrollHeight > e.clientHeight + 2).length"
    assert page.evaluate(cut) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 718


#: On how many lines the end of an element's text stands, from these words on.
LINES = """(element, words) => {
  const range = document.createRange();
  const node = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
  range.setStart(node, node.data.indexOf(words));
  range.setEnd(node, node.data.length);
  return range.getClientRects().length;
}"""
#: Whether these signs of an element's text stand on the screen in the order in which they are read.
IN_ORDER = """([selector, signs]) => {
  const node = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT).nextNode();
  const left = (sign) => {
    const range = document.createRange();
    range.setStart(node, node.data.indexOf(sign));
    range.setEnd(node, node.data.indexOf(sign) + 1);
    return range.getBoundingClientRect().left;
  };
  const places = [...signs].map(left);
  return places.every((place, nth) => !nth || place > places[nth - 1]);
}"""


def test_numbers_beside_names_from_right_to_left_keep_their_places(make: Any, show: Any, tmp_path: Path) -> None:
    names = ("שלום", "עולם")
    study = make.study({"batch_size": (8, 16)})
    cells = tuple(cell.model_copy(update={"name": name}) for cell, name in zip(study.cells, names, strict=True))
    report = make.finished(study.model_copy(update={"cells": cells}), [0.90, 0.95])
    slower = [replace(trial, elapsed_s=25.0 if trial.cell == names[1] else 12.5) for trial in report.trials]
    page = show(write_pages([analyse(replace(report, trials=tuple(slower)))], tmp_path)[0], 1280).page

    assert page.evaluate(IN_ORDER, ["#costs-front", "1ש2ע"])


def test_a_claim_that_begins_from_right_to_left_keeps_its_numbers_in_order(
    make: Any, show: Any, tmp_path: Path
) -> None:
    study = make.study({"batch_size": (8, 16)})
    claim = Greater(kind="greater", claim="שלום 9 against 2", a={"batch_size": 8}, b={"batch_size": 16})
    report = make.finished(study.model_copy(update={"hypotheses": (claim,)}))
    page = show(write_pages([analyse(report)], tmp_path)[0], 1280).page

    assert page.evaluate(IN_ORDER, [".verdicts .claim", "ש92"])


def test_two_studies_stand_side_by_side_without_scrolling(make: Any, show: Any, tmp_path: Path) -> None:
    one, other = (make.finished(make.study(seeds=seeds, name=name)) for seeds, name in ((3, "one"), (2, "other")))

    page = show(write_comparison(compare(one, other), tmp_path), 1180).page

    table = page.locator(".scroll:has(table.matched)")
    assert table.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0
    assert page.locator(".finding").first.evaluate(LINES, "") == 1


def test_names_on_a_phone_break_between_words(make: Any, show: Any, tmp_path: Path) -> None:
    report = make.finished(
        make.study({"optimizer.lr": (0.01,), "model.skip": (False,), "model.norm": ("batch", "none")})
    )

    page = show(write_pages([analyse(report)], tmp_path)[0], 360, 800).page

    assert page.locator("table.results .best .name").first.evaluate(LINES, "norm=") == 1


def test_paper_says_nothing_of_choosing(show: Any, folder: Path) -> None:
    page = show(folder / "tried.html").page
    hint = page.get_by_text("Choose a cell to see it alone")
    assert hint.is_visible()

    page.emulate_media(media="print")

    assert not hint.is_visible()


def test_paper_is_white_and_hides_nothing(show: Any, folder: Path) -> None:
    page = show(folder / "tried.html", color_scheme="dark").page
    page.wait_for_selector("#finals-plot .point")
    shut = "document.querySelectorAll('details:not([open])').length"
    opened = "document.querySelectorAll('details[open]').length"
    before = page.evaluate(opened)
    assert page.evaluate(shut) > 1
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {shut} }})")

    page.pdf()

    assert (page.evaluate("window.printed"), page.evaluate(opened)) == (0, before)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"


def test_a_table_that_goes_on_is_seen_to_go_on(show: Any, folder: Path) -> None:
    page = show(folder / "tried.html", 360, 800).page

    wide = page.locator(".scroll:has(table.trials)")
    assert wide.evaluate("(box) => box.scrollWidth > box.clientWidth && box.tabIndex === 0")
    assert wide.evaluate("(box) => getComputedStyle(box).backgroundAttachment") == "local, local, scroll, scroll"
    heights = page.evaluate("[...document.querySelectorAll('[id^=trial-]')].map((row) => row.offsetHeight)")
    assert max(heights) < 80
