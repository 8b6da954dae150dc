"""The dashboard in a real browser: a curve grows while a worker trains, and nothing that a reader chose is lost."""

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from support.worker import command as command_of_worker

from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import AttemptEnd, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store, leases
from cifarsweep.store.records import Lease, WorkerInfo

HOSTILE = "<script>window.hacked=1</script><img src=http://x.test/ onerror=window.hacked=1>\"'"
POINTS = "document.getElementById('curves-plot').data.at(-1).x.length"


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end, nothing may have complained or left the origin."""
    contexts: list[Any] = []
    asked: list[str] = []
    complaints: list[str] = []

    def _show(port: int, path: str = "/demo.html", width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}{path}")
        return page

    yield _show
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:", "data:"))] == []
    assert complaints == []


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        opened.queue.register_worker(WorkerInfo("w1", "node7", 7, "cuda:0", 2))
        yield opened


def train(store: Store, lease: Lease, *steps: int) -> Lease:
    rows = [MetricRow(name, step, 1 - 1 / (step + 1)) for step in steps for name in ("val/accuracy", "train/loss")]
    return store.queue.write(lease, [*rows, *(MetricRow("epoch", step, step / 10) for step in steps)])


def finish(store: Store, lease: Lease) -> None:
    """With counts of classes, so that the page gets more figures and one more cell to choose in them."""
    rows = [MetricRow(f"{CONFUSION}{true}/{taken}", 9, 5.0) for true in (0, 1) for taken in (0, 1)]
    store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 9, {"val/accuracy": 0.9}, "cd" * 32))


def until(page: Page, condition: str) -> None:
    """Wait for a condition; not wait_for_function, which evaluates a string inside the page, as the policy forbids."""
    # A page that loads itself anew takes the wait with it.
    for _ in range(900):
        try:
            if page.evaluate(f"(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"):
                return
        except Exception as error:
            if "navigation" not in str(error) and "destroyed" not in str(error):
                raise
        page.wait_for_timeout(100)
    pytest.fail(f"never came true: {condition}")


def test_a_curve_grows_while_a_worker_trains(serve, show, url, store, tmp_path):
    page = show(serve(url).port)
    assert page.locator("#curves-plot").count() == 0
    worker = subprocess.Popen(command_of_worker(url, tmp_path, "slow", slots=3, timing=(8.0, 0.5)))

    seen = []
    for points in (1, 6):
        until(page, f"{POINTS} >= {points}")
        seen.append(page.evaluate(POINTS))
    assert worker.wait(200) == 0
    until(page, "document.querySelector('.counts').textContent.includes('12 done')")
    until(page, "document.querySelectorAll('.state.done').length === 12")
    assert seen[0] <= seen[-1] == 6


def test_what_a_reader_chose_stays_while_the_page_grows(serve, show, url, store):
    lease = train(store, store.queue.claim("w1"), 1, 2)
    store.queue.fail(store.queue.claim("w1"), AttemptEnd.EXCEPTION, "boom", "Traceback: boom")
    page = show(serve(url).port)
    until(page, f"{POINTS} === 2")
    page.evaluate("window.same = true; window.plot = document.getElementById('curves-plot')")
    page.select_option("#y-axis", label="Training loss")
    page.check("input[name=x][value=epoch]", force=True)
    page.evaluate("document.querySelector('#again ~ details, section details:not(.fold)').open = true")
    page.evaluate("scrollTo(0, 900)")
    page.evaluate("Plotly.relayout('curves-plot', {'xaxis.range': [0, 0.5]})")
    # Where the figure stands on the screen: what comes above it may grow.
    top = "Math.round(document.getElementById('curves-plot').getBoundingClientRect().top)"
    place = f"[{top}, document.querySelectorAll('details[open]').length]"
    before = page.evaluate(place)

    train(store, lease, 3, 4, 5)

    until(page, f"{POINTS} === 5")
    assert page.evaluate("window.same && window.plot === document.getElementById('curves-plot')")
    assert page.evaluate("document.getElementById('curves-plot').data.at(-1).x.at(-1)") == 0.5
    assert page.evaluate("document.getElementById('curves-plot').layout.xaxis.range") == [0, 0.5]
    assert page.evaluate(place) == before


def test_what_a_reader_chose_stays_when_cells_finish_and_figures_come(serve, show, url, store):
    first, second = train(store, store.queue.claim("w1"), 1, 2), train(store, store.queue.claim("w1"), 1, 2)
    page = show(serve(url).port)
    until(page, f"{POINTS} === 2")
    page.evaluate("window.same = true; document.querySelector('#again ~ details').open = true; scrollTo(0, 700)")
    page.check("#log-x")
    page.click("#legend button >> nth=1")
    page.click("#chips .chip >> nth=-2 >> .alone")
    page.select_option("#colour-by", index=1)

    finish(store, first)
    until(page, "document.querySelectorAll('#confusion-plot .heatmaplayer image').length === 1")
    page.select_option("#confusion-cell", index=0)
    shown = page.evaluate("document.getElementById('confusion-cell').selectedOptions[0].textContent")
    finish(store, second)
    until(page, "document.querySelectorAll('#confusion-cell option').length === 2")

    assert page.evaluate("document.getElementById('confusion-cell').selectedOptions[0].textContent") == shown
    assert page.evaluate("window.same && document.getElementById('log-x').checked")
    pressed = "[...document.querySelectorAll('#legend button')].map((one) => one.ariaPressed)"
    assert page.evaluate(pressed)[:4] == ["false", "true", "false", "false"]
    levels = "[...document.querySelectorAll('#chips .level')].map((one) => one.ariaPressed)"
    assert page.evaluate(levels)[-2:] == ["true", "false"]
    assert page.locator("#colour-by option:checked").get_attribute("value") == "0"
    assert page.locator("#chips .coloured").count() > 0
    assert page.evaluate("document.querySelectorAll('details[open]:not(.fold)').length") == 1
    page.click("#show-all")
    assert page.evaluate("document.activeElement.dataset.cell") == "0"


def test_sorted_tables_and_open_rows_stay_while_the_page_grows(serve, show, url, store):
    leases = [train(store, store.queue.claim("w1"), 1, 2) for _ in range(2)]
    page = show(serve(url).port)
    until(page, f"{POINTS} === 2")
    rows = "[...document.querySelectorAll('table.trials tbody tr:not(.more)')]"
    for way in ("ascending", "descending"):
        # By keyboard: what comes in above moves a head away from under the mouse.
        page.locator("table.trials thead").get_by_role("button", name="No.").press("Enter")
        page.wait_for_selector(f"table.trials th[aria-sort={way}]")
    page.evaluate("document.querySelector('table.trials').scrollIntoView()")
    page.wait_for_selector("#trial-1 .opens")
    page.locator("#trial-1 .opens").press("Enter")
    page.get_by_role("checkbox", name="Compare trial 1", exact=True).check()
    page.evaluate("window.row = document.getElementById('trial-1'); document.querySelector('#trial-1 .opens').focus()")

    for lease in leases:
        finish(store, lease)
    until(page, "document.querySelectorAll('.state.done').length === 2")

    assert page.evaluate(f"{rows}.map((row) => row.cells[0].textContent.trim())") == [
        str(number) for number in range(11, -1, -1)
    ]
    assert page.locator("table.trials th[aria-sort=descending] .sort").inner_text() == "No."
    assert page.locator("#more-1 .attempts").is_visible()
    assert page.evaluate("document.activeElement === window.row.querySelector('.opens') && window.row.isConnected")
    assert page.evaluate("document.querySelectorAll('#trial-1 .opens').length") == 1
    assert page.locator("input.pick:checked").count() == 1 and page.locator("#trial-1 input.pick").is_checked()
    assert page.locator(".picked").inner_text().startswith("Trial 1: choose another trial")
    # The row of a trial that was closed tells what is newest, too.
    page.locator("#trial-0 .opens").press("Enter")
    assert "90.00" in page.locator("#more-0 .last").inner_text()


def test_a_page_that_must_be_loaded_anew_is_shown_as_it_was_left(serve, show, url, store):
    page = show(serve(url).port)
    page.wait_for_selector("#live .counts")
    assert page.locator("#no-plotly").count() == 0
    page.evaluate("window.same = true; document.querySelector('#again ~ details').open = true")
    page.evaluate("document.getElementById('again').scrollIntoView()")
    place = "Math.round(document.getElementById('again').getBoundingClientRect().top)"
    before = page.evaluate(place)

    train(store, store.queue.claim("w1"), 1, 2)

    until(page, f"{POINTS} === 2")
    assert page.evaluate("window.same") is None
    assert page.evaluate("document.querySelector('#again ~ details').open")
    until(page, f"Math.abs({place} - {before}) < 40")


def test_a_page_says_that_a_worker_fell_silent_and_who_is_to_do_what(serve, show, url, store, monkeypatch):
    # A clock that stands: a page that takes half a minute to be shown tells of no worker that fell silent.
    now = [leases.machine_now()]
    monkeypatch.setattr(leases, "machine_now", lambda: now[0])
    train(store, store.queue.claim("w1"), 1, 2)
    page = show(serve(url).port, width=360)
    page.wait_for_selector("#live-running")
    assert page.locator("#live .notice").count() == 0

    now[0] += 37

    page.wait_for_selector("#live .notice >> nth=1")  # a look may fall on either side of the moment
    said = " ".join(page.locator("#live .notice").all_text_contents())
    assert re.search(r"1 trial's worker was last heard of \d\d s ago; the next worker takes it over, unless it", said)
    assert "11 trials wait and no worker is at work: start cifarsweep worker." in said
    assert page.locator("#live .trouble").count() == 2  # of the trial, and of its worker
    for beat in page.locator("#live .trouble").all():
        box = beat.bounding_box()
        assert box["x"] + box["width"] <= 360
    page.goto(page.url.replace("demo.html", ""))
    page.wait_for_selector("#live .notice")
    assert "no worker is at work" in page.inner_text("#live")


def test_the_index_shows_studies_workers_and_errors(serve, show, url, store):
    train(store, store.queue.claim("w1"), 1, 2)
    store.queue.fail(store.queue.claim("w1"), AttemptEnd.EXCEPTION, "ValueError: boom", "Traceback: boom")
    page = show(serve(url).port, "/")

    page.wait_for_selector("#live table")
    text = page.inner_text("#live")
    assert all(part in text for part in ("demo/0", "node7, cuda:0", "1 of 2 busy", "demo/1", "ValueError: boom"))
    store.studies.add_seeds("demo", [(store.trials.all("demo")[0].cell, 77)])
    until(page, "document.querySelector('main').textContent.includes('13 trials')")
    page.click("#live a >> nth=0")
    assert page.url.endswith("/demo.html#trial-0")


@pytest.mark.parametrize("path", ["/", "/hostile.html"])
def test_hostile_texts_run_nothing_and_phones_do_not_scroll_sideways(serve, show, url, store, path):
    spec = read_study(find("demo"))
    cells = (spec.cells[0].model_copy(update={"name": HOSTILE + "x" * 150}), *spec.cells[1:])
    store.studies.create(spec.model_copy(update={"name": "hostile", "question": HOSTILE, "cells": cells}))
    store.queue.register_worker(WorkerInfo("w1", HOSTILE, 7, HOSTILE, 2))
    train(store, store.queue.claim("w1", studies=["hostile"]), 1, 2)
    store.queue.fail(store.queue.claim("w1", studies=["hostile"]), AttemptEnd.EXCEPTION, HOSTILE * 3, HOSTILE)
    page = show(serve(url).port, path, 360, color_scheme="dark")

    page.wait_for_selector("#live table")
    page.wait_for_timeout(300)
    assert HOSTILE[:30] in page.inner_text("#live")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_page_says_that_the_database_is_away_and_recovers(serve, show, url, store, tmp_path):
    page = show(serve(url).port)
    page.wait_for_selector("#live .counts")
    path = tmp_path / "results.db"

    path.rename(tmp_path / "elsewhere.db")
    page.wait_for_selector("#live .away")
    assert "there is no such database" in page.inner_text("#live .away")
    (tmp_path / "elsewhere.db").rename(path)
    until(page, "!document.querySelector('#live .away')")


def test_a_browser_that_was_given_the_token_sees_everything(serve, show, url):
    page = show(serve(url, token="s3cret").port, "/demo.html?token=s3cret")  # noqa: S106

    page.wait_for_selector("#live .counts")
    assert page.url.endswith("/demo.html")
    assert page.evaluate("document.cookie") == ""
