"""The report's pages in the cache, rendered again only when something has changed."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.dashboard.event_stream import EventStream
from cifarsweep.dashboard.page_cache import PageCache
from cifarsweep.report.render import INDEX
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import AttemptEnd, MetricRow
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo


@pytest.fixture
def pages(url):
    connection = StoreConnection(url)
    yield PageCache(connection)
    connection.close()


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


def test_the_index_leads_to_every_study_and_to_nothing_else(serve, url):
    client = serve(url)

    assert 'href="demo.html"' in client.ask("/").text
    assert client.ask("/index.html").status == client.ask("/demo.html").status == 200
    assert client.ask("/plotly.min.js").headers["content-type"].startswith("text/javascript")
    for path in ("/nothing.html", "/demo", "/demo.html/x", "/../pyproject.toml", "/%2e%2e/pyproject.toml", "/live.py"):
        answer = client.ask(path)
        assert (answer.status, "There is no such page" in answer.text) == (404, True), path
        assert '<a href="/">All studies</a>' in answer.text


def test_a_page_that_the_browser_has_is_not_sent_again(serve, url, store):
    client = serve(url)
    first = client.ask("/demo.html")

    again = client.ask("/demo.html", If_None_Match=first.headers["etag"])
    assert (again.status, again.text) == (304, "")


def test_an_idle_dashboard_makes_no_page_and_reads_no_series(pages, monkeypatch):
    first = pages.page("demo.html")
    made = []
    monkeypatch.setattr("cifarsweep.dashboard.page_cache.load_study", lambda *_: made.append(1))

    assert pages.page("demo.html") is not None and pages.page(INDEX) is not None
    assert pages.page("demo.html").stamp == first.stamp
    assert made == []


def test_every_kind_of_change_makes_a_new_page_and_no_other_study_is_read(url, store):
    connection, now = StoreConnection(url), [0.0]
    pages = PageCache(connection, clock=lambda: now[0])
    seen = [pages.page("demo.html").stamp]

    def looked() -> str:
        now[0] += 1000
        return pages.page("demo.html").stamp

    lease = store.queue.claim("w")
    seen.append(looked())
    lease = store.queue.write(lease, [MetricRow("train/loss", 1, 2.0)])
    seen.append(looked())
    store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "Traceback")
    seen.append(looked())
    store.studies.add_seeds("demo", [(store.trials.all("demo")[0].cell, 77)])
    seen.append(looked())
    other = read_study(find("demo")).model_copy(update={"name": "other"})
    store.studies.create(other)

    assert len(set(seen)) == 5
    assert looked() == seen[-1]
    connection.close()


def test_a_page_that_changes_all_the_time_is_made_at_most_every_two_seconds(url, store):
    connection, now = StoreConnection(url), [0.0]
    pages = PageCache(connection, clock=lambda: now[0])
    first = pages.page("demo.html")
    store.queue.claim("w")

    now[0] = 1.9
    assert pages.page("demo.html").stamp == first.stamp
    now[0] = 2.1
    assert pages.page("demo.html").stamp != first.stamp
    connection.close()


def test_only_trials_that_somebody_wrote_for_are_read_again(url, store):
    leases = [store.queue.write(store.queue.claim("w"), [MetricRow("train/loss", 1, 2.0)]) for _ in range(4)]
    connection = StoreConnection(url)
    connection.read(lambda watched: watched.metrics.read("demo", ["train/loss"]))
    before = connection.read(lambda watched: watched.reads)

    store.queue.write(leases[2], [MetricRow("train/loss", 2, 1.0)])
    series = connection.read(lambda watched: watched.metrics.read("demo", ["train/loss"]))

    assert connection.read(lambda watched: watched.reads) == before + 2  # the marks and one trial
    assert [len(series[lease.number, "train/loss"][0]) for lease in leases] == [1, 1, 2, 1]
    assert {key: list(map(list, value)) for key, value in series.items()} == {
        key: list(map(list, value)) for key, value in store.metrics.read("demo", ["train/loss"]).items()
    }
    connection.close()


def test_the_stream_tells_what_is_under_way(serve, url, store):
    store.queue.register_worker(WorkerInfo("w1", "node<1>", 7, "cuda:0", 2))
    client = serve(url)
    with client.events() as events:
        first = next(events)
        lease = store.queue.claim("w1")
        store.queue.write(lease, [MetricRow("train/loss", 3, float("nan")), MetricRow("val/accuracy", 3, 0.5)])
        then = next(said for said in events if said["running"] and said["running"][0]["loss"])

    assert (first["running"], first["studies"]["demo"]["done"]) == ([], 0)
    assert first["workers"][0]["slots"] == "0 of 2 busy"
    assert then["stamps"]["demo.html"] != first["stamps"]["demo.html"]
    running = then["running"][0]
    assert (running["trial"], running["loss"], running["accuracy"]) == (lease.number, "not finite", "50.0\u202f%")
    assert then["workers"][0]["slots"] == "1 of 2 busy"


def test_errors_are_told_with_their_trials(serve, url, store):
    store.queue.fail(
        store.queue.claim("w"), AttemptEnd.EXCEPTION, "ValueError: \x1b[31mboom" + "!" * 999, "Traceback ..."
    )
    with serve(url).events() as events:
        error = next(events)["errors"][0]

    assert (error["study"], error["trial"], error["end"]) == ("demo", 0, "exception")
    assert error["error"].startswith("ValueError: ␛[31mboom!") and len(error["error"]) <= 300


def test_a_database_that_is_away_is_a_sentence_and_comes_back_by_itself(serve, url, tmp_path):
    client = serve(url)
    path = tmp_path / "results.db"
    with client.events() as events:
        assert "away" not in next(events)
        path.rename(tmp_path / "elsewhere.db")
        away = next(said for said in events if "away" in said)["away"]
        answer = client.ask("/demo.html")
        (tmp_path / "elsewhere.db").rename(path)
        back = next(said for said in events if "away" not in said)

    assert "there is no such database" in away
    assert (answer.status, "there is no such database" in answer.text) == (503, True)
    assert 'http-equiv="refresh"' in answer.text
    assert back["studies"]["demo"]["total"] == 12
    assert client.ask("/demo.html").status == 200


def test_a_file_that_was_replaced_is_read_anew(pages, url, tmp_path):
    assert pages.page("demo.html") is not None
    (tmp_path / "results.db").unlink()
    with Store.open(url, upgrade=True) as store:
        store.studies.create(read_study(find("demo")).model_copy(update={"name": "new"}))

    assert pages.page("demo.html") is None
    assert pages.page("new.html") is not None


def test_the_dashboard_never_imports_torch():
    code = "import cifarsweep.dashboard.server, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=200).returncode == 0


def test_nothing_is_read_while_nobody_watches(url, monkeypatch):
    async def watch() -> tuple[int, int]:
        connection = StoreConnection(url)
        stream = EventStream(connection, every_s=0.01)
        events = stream.events()
        while not (await anext(events)).startswith(b"data: "):
            pass
        await events.aclose()
        while reading:  # in a thread, which ends what it has begun
            await asyncio.sleep(0.01)
        before = connection.read(lambda store: store.reads)
        await asyncio.sleep(0.2)
        after = connection.read(lambda store: store.reads)
        connection.close()
        return before, after

    reading: list[int] = []
    poll = EventStream._poll

    def noted(stream: EventStream) -> bytes:
        reading.append(1)
        try:
            return poll(stream)
        finally:
            reading.pop()

    monkeypatch.setattr(EventStream, "_poll", noted)

    before, after = asyncio.run(watch())
    assert before == after > 0


def test_the_pause_of_the_dashboard_grows_with_what_a_look_takes(url, monkeypatch):
    paused: list[float] = []
    connection = StoreConnection(url)

    def noted(took_s: float, shortest_s: float) -> float:
        paused.append(took_s)
        connection.close()
        return 0.0

    async def watch() -> None:
        events = EventStream(connection).events()
        await anext(events)
        while len(paused) < 2:
            await asyncio.sleep(0.01)
        await events.aclose()

    monkeypatch.setattr("cifarsweep.dashboard.event_stream.pause_after", noted)
    asyncio.run(watch())

    assert paused[0] > 0 and paused[1] == 0.0, "one that does not answer is asked as often as ever"


def test_a_slow_read_is_logged(url, monkeypatch, caplog):
    monkeypatch.setattr("cifarsweep.store.cached.SLOW_S", 0.0)
    connection = StoreConnection(url)

    connection.read(lambda store: store.fingerprints())

    assert "a read of sqlite:///" in caplog.text
    connection.close()
