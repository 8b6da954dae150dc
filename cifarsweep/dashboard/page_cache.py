"""The report's pages, rendered again only when their study has changed, and never back to back."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.study import load_study
from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.errors import CifarsweepError, StoreUnavailable
from cifarsweep.report.render import INDEX, linked_row, page_name, render_rows, render_study, unreadable_row

#: Pages of studies that are kept: each is as large as what it shows.
_MOST = 32
#: A row or page is rendered again after this many seconds at the earliest, or this many times what rendering took.
_EVERY_S, _SHARE = 2.0, 5.0
#: How long a request waits for rows of the index that are missing; a few studies are read by then.
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the fingerprint of what it shows."""

    stamp: str
    html: bytes


@dataclass(frozen=True, slots=True)
class RenderedStudy:
    """A study's page, and when it may be rendered again."""

    page: Page
    again_at: float


class PageCache:
    """Renders pages on request, from any thread. Two threads wait for each other only for the same page."""

    def __init__(self, connection: StoreConnection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection, self._clock = connection, clock
        self._lock = threading.Lock()
        self._rendering: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._rendered: OrderedDict[str, RenderedStudy] = OrderedDict()
        self._index = Index(self._row, clock)

    def page(self, file: str) -> Page | None:
        """The page of that file name; None if no study has it. Raises StoreError."""
        stamps = self._connection.read(lambda store: store.fingerprints())
        if file == INDEX:
            return self._index.page(stamps)
        name = next((name for name in stamps if page_name(name) == file), None)
        if name is None:
            return None
        with self._lock:
            rendering = self._rendering[name]
        with rendering:
            return self._study(name, stamps[name])

    def _study(self, name: str, stamp: str) -> Page:
        rendered, now = self._rendered.get(name), self._clock()
        if rendered is None or (rendered.page.stamp != stamp and now >= rendered.again_at):
            analysis = self._connection.read(lambda store: load_study(store, name))
            page = Page(stamp, render_study(analysis, live=stamp).encode())
            rendered = RenderedStudy(page, _next_time(now, self._clock()))
            self._keep(name, rendered)
            self._index.add(name, stamp, linked_row(analysis), rendered.again_at)
        return rendered.page

    def _keep(self, name: str, rendered: RenderedStudy) -> None:
        with self._lock:
            self._rendered[name] = rendered
            self._rendered.move_to_end(name)
            while len(self._rendered) > _MOST:
                self._rendered.popitem(last=False)

    def _row(self, name: str) -> Mapping[str, Any]:
        return linked_row(self._connection.read(lambda store: load_study(store, name, curves=False)))


@dataclass(frozen=True, slots=True)
class _Row:
    """A study's row of the index, the stamp of its state, and when it may be made again."""

    stamp: str
    fields: Mapping[str, Any]
    again_at: float


class Index:
    """The page of all studies, a row each. It waits neither for the slowest study nor for the last of thousands.

    `row_of` makes the row of a study. One thread makes the rows that are missing or old, for as long as requests come.
    Missing rows are shown as such, and the page's script asks again until the page has the stamp of all studies.
    """

    def __init__(
        self,
        row_of: Callable[[str], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._row_of, self._clock, self._patience_s = row_of, clock, patience_s
        self._lock = threading.Condition()
        self._rows: dict[str, _Row] = {}
        self._stamps: Mapping[str, str] = {}
        self._thread: threading.Thread | None = None
        self._page = Page("", b"")

    def page(self, stamps: Mapping[str, str]) -> Page:
        """The page with the rows that are known by now, of the studies in these states."""
        with self._lock:
            self._stamps = stamps
            if next(self._due(), None) is not None and self._thread is None:
                self._thread = threading.Thread(target=self._make_rows, daemon=True)
                self._thread.start()
            self._lock.wait_for(lambda: self._thread is None, self._patience_s)
            self._rows = {name: row for name, row in self._rows.items() if name in stamps}
            rows = {name: self._rows.get(name) for name in stamps}
        return self._rendered(rows)

    def add(self, name: str, stamp: str, fields: Mapping[str, Any], again_at: float) -> None:
        """Take the row of a study that was read anyway."""
        with self._lock:
            self._rows[name] = _Row(stamp, fields, again_at)

    def _rendered(self, rows: Mapping[str, _Row | None]) -> Page:
        stamp = index_stamp({name: row.stamp if row else "" for name, row in rows.items()})
        if self._page.stamp != stamp:
            unread = "Not read yet; this page fills in by itself."
            fields = [
                row.fields if row else unreadable_row(name, unread, page=page_name(name)) for name, row in rows.items()
            ]
            self._page = Page(stamp, render_rows(fields, live=stamp).encode())
        return self._page

    def _due(self) -> Iterator[tuple[str, str]]:
        """The studies whose rows are to be made, and their stamps."""
        now = self._clock()
        for name, stamp in self._stamps.items():
            row = self._rows.get(name)
            if row is None or (row.stamp != stamp and now >= row.again_at):
                yield name, stamp

    def _make_rows(self) -> None:
        try:
            while due := self._next_due():
                for name, stamp in due:
                    self._make_row(name, stamp)
        except StoreUnavailable:
            pass  # the next request says so
        finally:
            with self._lock:
                self._thread = None
                self._lock.notify_all()

    def _next_due(self) -> list[tuple[str, str]]:
        with self._lock:
            return list(self._due())

    def _make_row(self, name: str, stamp: str) -> None:
        began = self._clock()
        try:
            fields = self._row_of(name)
        except StoreUnavailable:
            raise
        except CifarsweepError as error:
            fields = unreadable_row(name, f"Can't be read: {error}", page=page_name(name))
        self.add(name, stamp, fields, _next_time(began, self._clock()))


def _next_time(began: float, ended: float) -> float:
    """When something that took so long may be made again."""
    return ended + max(_EVERY_S, _SHARE * (ended - began))


def index_stamp(stamps: Mapping[str, str]) -> str:
    """The stamp of the index, which shows all studies."""
    return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()[:16]
