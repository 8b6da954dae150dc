"""The page of all studies: it never waits for the slowest, nor for the last of thousands."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cifarsweep.errors import CifarsweepError, StoreUnavailable
from cifarsweep.report.render import page_name, render_rows, unread_row

#: A line or page is made again after this many seconds at the earliest, or after this many times what it took to make.
_EVERY_S, _SHARE = 2.0, 5.0
#: How long a request waits for lines that are still to be made; those of a few studies are there by then.
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the stamp of what it shows."""

    stamp: str
    html: bytes


@dataclass(frozen=True, slots=True)
class _Line:
    """What the index says of a study in one state, by its stamp, and when that may be made again."""

    stamp: str
    row: Mapping[str, Any]
    again_at: float


class Index:
    """A line a study. One thread makes those that are missing or old, as long as somebody asks for the page.

    `row_of` makes the line of a study by its name. Lines that are missing are shown as such, and the page's script asks
    again until its stamp is that of all studies.
    """

    def __init__(
        self,
        row_of: Callable[[str], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._row_of, self._clock, self._patience_s = row_of, clock, patience_s
        self._lock = threading.Condition()
        self._lines: dict[str, _Line] = {}
        self._stamps: Mapping[str, str] = {}
        self._thread: threading.Thread | None = None
        self._page = Page("", b"")

    def page(self, stamps: Mapping[str, str]) -> Page:
        """The page with what is known by now, of the studies in these states."""
        with self._lock:
            self._stamps = stamps
            if next(self._due(), None) is not None and self._thread is None:
                self._thread = threading.Thread(target=self._make_lines, daemon=True)
                self._thread.start()
            self._lock.wait_for(lambda: self._thread is None, self._patience_s)
            self._lines = {name: line for name, line in self._lines.items() if name in stamps}
            lines = dict(self._lines)
        return self._rendered({name: lines.get(name) for name in stamps})

    def know(self, name: str, stamp: str, row: Mapping[str, Any], again_at: float) -> None:
        """Take the line of a study that was read anyway."""
        with self._lock:
            self._lines[name] = _Line(stamp, row, again_at)

    def _rendered(self, lines: Mapping[str, _Line | None]) -> Page:
        stamp = index_stamp({name: line.stamp if line else "" for name, line in lines.items()})
        if self._page.stamp != stamp:
            rows = [line.row if line else _waiting(name) for name, line in lines.items()]
            self._page = Page(stamp, render_rows(rows, live=stamp).encode())
        return self._page

    def _due(self) -> Iterator[tuple[str, str]]:
        """The studies whose lines are to be made, and their stamps."""
        now = self._clock()
        for name, stamp in self._stamps.items():
            line = self._lines.get(name)
            if line is None or (line.stamp != stamp and now >= line.again_at):
                yield name, stamp

    def _make_lines(self) -> None:
        try:
            while due := self._next_due():
                for name, stamp in due:
                    self._make_line(name, stamp)
        except StoreUnavailable:
            pass  # the next request says so
        finally:
            self._end()

    def _next_due(self) -> list[tuple[str, str]]:
        with self._lock:
            return list(self._due())

    def _make_line(self, name: str, stamp: str) -> None:
        began = self._clock()
        try:
            row = self._row_of(name)
        except StoreUnavailable:
            raise
        except CifarsweepError as error:
            row = unread_row(name, f"Can't be read: {error}", page=page_name(name))
        self.know(name, stamp, row, next_time(began, self._clock()))

    def _end(self) -> None:
        with self._lock:
            self._thread = None
            self._lock.notify_all()


def _waiting(name: str) -> Mapping[str, Any]:
    return unread_row(name, "Not read yet; this page fills in by itself.", page=page_name(name))


def next_time(began: float, ended: float) -> float:
    """When what took so long may be made again: no faster than is good for the machine."""
    return ended + max(_EVERY_S, _SHARE * (ended - began))


def index_stamp(stamps: Mapping[str, str]) -> str:
    """The stamp of the index, which shows all studies."""
    return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()[:16]
