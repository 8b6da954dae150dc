"""The report's pages, made again only where their study has changed, and no faster than is good for the machine."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cifarsweep.dashboard.source import Source
from cifarsweep.report.collect import collect
from cifarsweep.report.pages import INDEX, page_name, render_index, render_study
from cifarsweep.report.source import ReportStudy

#: A page is made again after this many seconds at the earliest, or after this many times what it took to make.
_EVERY_S, _SHARE = 2.0, 5.0


@dataclass(frozen=True, slots=True)
class Made:
    """What was made from a study in one state, by its stamp, and when that may be done again."""

    stamp: str
    report: ReportStudy
    html: bytes
    again_at: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the stamp of what it shows."""

    stamp: str
    html: bytes


class Pages:
    """Makes pages when they are asked for. Safe to share between threads, which wait for each other."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._lock = threading.Lock()
        self._made: dict[str, Made] = {}
        self._index: Page | None = None

    def page(self, file: str) -> Page | None:
        """The page of that file name, None where there is no such study. Raises StoreError."""
        stamps = self._source.read(lambda store: store.stamps())
        with self._lock:
            if file == INDEX:
                return self._index_page(stamps)
            name = next((name for name in stamps if page_name(name) == file), None)
            made = self._study(name, stamps[name]) if name else None
        return Page(made.stamp, made.html) if made else None

    def _study(self, name: str, stamp: str) -> Made:
        made, now = self._made.get(name), self._clock()
        if made is None or (made.stamp != stamp and now >= made.again_at):
            report = self._source.read(lambda store: collect(store, name))
            html = render_study(report, live=stamp).encode()
            took = self._clock() - now
            made = self._made[name] = Made(stamp, report, html, now + took + max(_EVERY_S, _SHARE * took))
        return made

    def _index_page(self, stamps: Mapping[str, str]) -> Page:
        made = {name: self._study(name, stamp) for name, stamp in stamps.items()}
        stamp = index_stamp({name: one.stamp for name, one in made.items()})
        if self._index is None or self._index.stamp != stamp:
            html = render_index([one.report for one in made.values()], live=stamp)
            self._index = Page(stamp, html.encode())
        return self._index


def index_stamp(stamps: Mapping[str, str]) -> str:
    """The stamp of the index, which shows all studies."""
    return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()[:16]
