"""The page of all studies, which waits for none of them."""

import threading
from datetime import UTC, datetime

from cifarsweep.dashboard import page_cache
from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.dashboard.page_cache import Index, index_stamp
from cifarsweep.errors import StoreError, StoreUnavailable

STAMPS = {f"s{number}": f"stamp-{number}" for number in range(4)}


def row(name: str) -> dict[str, object]:
    unknown = dict.fromkeys(("decisions", "verdict", "best_cell", "best_mean", "best_n", "unread"))
    texts = {"name": name, "page": f"{name}.html", "question": "?", "lead": f"lead of {name}", "counts": ""}
    return unknown | texts | {"progress": {"done": 0, "total": 1}, "made_at": datetime(2026, 1, 1, tzinfo=UTC)}


class Rows:
    """Makes lines, each only when it may."""

    def __init__(self):
        self.made: list[str] = []
        self.may = threading.Semaphore(0)

    def __call__(self, name):
        assert self.may.acquire(timeout=200)
        self.made.append(name)
        return row(name)


def until_whole(index, stamps=STAMPS):
    """Ask again, as the page's script does, until all lines are there."""
    while (page := index.page(stamps)).stamp != index_stamp(stamps):
        pass
    return page.html.decode()


def test_lines_that_are_not_there_yet_are_shown_as_such_and_fill_in():
    rows = Rows()
    index = Index(rows, patience_s=0.0)

    first = index.page(STAMPS)
    rows.may.release(4)
    whole = until_whole(index)

    assert first.html.decode().count("Not read yet") == 4 and first.stamp != index_stamp(STAMPS)
    assert [f"lead of {name}" in whole for name in STAMPS] == [True] * 4 and "Not read yet" not in whole
    assert rows.made == list(STAMPS)


def test_a_few_studies_are_there_at_once():
    assert "lead of s3" in Index(row, patience_s=60.0).page(STAMPS).html.decode()


def test_only_what_has_changed_is_made_again():
    rows, now = Rows(), [0.0]
    rows.may.release(99)
    index = Index(rows, lambda: now[0], patience_s=60.0)
    index.page(STAMPS)
    newer = {**STAMPS, "s2": "another"}

    at_once = index.page(newer)
    now[0] = 10.0
    later = index.page(newer)

    assert at_once.stamp == index_stamp(STAMPS) and later.stamp == index_stamp(newer)
    assert rows.made == [*STAMPS, "s2"]


def test_a_study_that_is_gone_is_not_shown():
    index = Index(row, patience_s=60.0)
    index.page(STAMPS)

    assert "lead of s1" not in index.page({"s0": "stamp-0"}).html.decode()


def test_a_study_that_can_not_be_read_leaves_the_others_alone():
    def of(name):
        if name == "s1":
            raise StoreError("trial s1/0 has \x1b[2J in its final metrics")
        return row(name)

    html = Index(of, patience_s=60.0).page(STAMPS).html.decode()

    assert "Can&#39;t be read: trial s1/0 has ␛[2J" in html and html.count("lead of") == 3


def test_a_database_that_goes_away_meanwhile_ends_nothing():
    away = [True]

    def of(name):
        if away:
            away.clear()
            raise StoreUnavailable("away")
        return row(name)

    index = Index(of, patience_s=60.0)

    assert "Not read yet" in index.page(STAMPS).html.decode()
    assert "Not read yet" not in index.page(STAMPS).html.decode()


def test_a_study_is_served_while_the_lines_of_others_are_made(url, monkeypatch):
    rows = Rows()
    monkeypatch.setattr(page_cache.PageCache, "_row", lambda self, name: rows(name))
    connection = StoreConnection(url)
    served = page_cache.PageCache(connection)

    assert b"Not read yet" in served.page("index.html").html
    assert served.page("demo.html").html.startswith(b"<!DOCTYPE html>")
    rows.may.release(99)
    connection.close()


def test_a_thread_that_outlives_the_server_leaves_no_connection_open(url, left_open):
    connection = StoreConnection(url)
    connection.read(lambda store: store.fingerprints())
    asked, closed = threading.Event(), threading.Event()

    def row_of(name):
        asked.set()
        closed.wait()
        return connection.read(lambda store: row(name))

    index = Index(row_of, patience_s=0.0)
    index.page(STAMPS)
    asked.wait()
    thread = index._thread
    connection.close()
    closed.set()
    thread.join()

    assert left_open() == []
