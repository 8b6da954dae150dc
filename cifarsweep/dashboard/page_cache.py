"""The report's pages, made again only where their study has changed, and no faster than is good for the machine."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.collect import collect
from cifarsweep.dashboard.connection import Source
from cifarsweep.dashboard.index import Index, Page, next_time
from cifarsweep.report.render import INDEX, listed, page_name, render_study

#: Pages of studies that are kept: each is as large as what it shows.
_MOST = 32


@dataclass(frozen=True, slots=True)
class Made:
    """A study's page, and when it may be made again."""

    page: Page
    again_at: float


class Pages:
    """Makes pages when they are asked for. Threads may share it: two wait for each other only for the same page."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._lock = threading.Lock()
        self._making: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._index = Index(self._row, clock)

    def page(self, file: str) -> Page | None:
        """The page of that file name, None where there is no such study. Raises StoreError."""
        stamps = self._source.read(lambda store: store.stamps())
        if file == INDEX:
            return self._index.page(stamps)
        name = next((name for name in stamps if page_name(name) == file), None)
        if name is None:
            return None
        with self._lock:
            making = self._making[name]
        with making:
            return self._study(name, stamps[name])

    def _study(self, name: str, stamp: str) -> Page:
        made, now = self._made.get(name), self._clock()
        if made is None or (made.page.stamp != stamp and now >= made.again_at):
            report = self._source.read(lambda store: collect(store, name))
            page = Page(stamp, render_study(report, live=stamp).encode())
            made = Made(page, next_time(now, self._clock()))
            self._keep(name, made)
            self._index.know(name, stamp, listed(report), made.again_at)
        return made.page

    def _keep(self, name: str, made: Made) -> None:
        with self._lock:
            self._made[name] = made
            self._made.move_to_end(name)
            while len(self._made) > _MOST:
                self._made.popitem(last=False)

    def _row(self, name: str) -> Mapping[str, Any]:
        return listed(self._source.read(lambda store: collect(store, name)))
