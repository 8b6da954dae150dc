"""The dashboard's database: opened on demand, and opened again after it was away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from cifarsweep.errors import StoreError, StoreUnavailable, UnreadableStudy
from cifarsweep.store.cached import CachedStore
from cifarsweep.store.url import file_of, parse_url

T = TypeVar("T")


class StoreConnection:
    """Hands out one read-only store, from any thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = file_of(parse_url(url))
        self._lock = threading.Lock()
        self._opened: tuple[CachedStore, object] | None = None
        self._closed = False

    def read(self, work: Callable[[CachedStore], T]) -> T:
        """Run `work` with the store. Raises StoreError if the database is away; the next call opens it again.

        Once this was closed it raises StoreUnavailable: a thread that makes pages may outlive the server.
        """
        store = self._store()
        try:
            return work(store)
        except UnreadableStudy:
            raise
        except StoreError:
            self._close_store()
            raise

    def close(self) -> None:
        """Close the store for good; a read under way closes its connection when it ends."""
        self._closed = True
        self._close_store()

    def _close_store(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened:
            opened[0].close()

    def _store(self) -> CachedStore:
        file = self._file()
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the dashboard has ended")
            if self._opened and self._opened[1] != file:
                # The file was replaced: the open store would show the old one for ever.
                self._opened[0].close()
                self._opened = None
            if self._opened is None:
                self._opened = (CachedStore.open(self._url, read_only=True), file)
            return self._opened[0]

    def _file(self) -> object:
        """The identity of the SQLite file, if the database is one."""
        try:
            status = self._path.stat() if self._path else None
        except OSError:
            return None
        return status and (status.st_dev, status.st_ino)
