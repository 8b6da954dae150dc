"""Looks at the database while somebody watches, once for all of them, and passes on what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from anyio import to_thread

from cifarsweep.dashboard.connection import Source
from cifarsweep.dashboard.live_state import message
from cifarsweep.errors import StoreError

EVERY_S = 2.0
#: A comment after so long a silence, so that proxies and browsers keep the connection.
_ALIVE_S = 15.0


class Hub:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) for any number of pages."""

    def __init__(self, source: Source, every_s: float = EVERY_S) -> None:
        self._source, self._every_s = source, every_s
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._latest = b""
        self._closed = False

    async def stream(self) -> AsyncIterator[bytes]:
        """The latest message at once, then whatever is new; a slow reader misses those in between, not the last."""
        self._listeners += 1
        if self._task is None:
            self._latest = b""
            self._task = asyncio.create_task(self._watch())
        told = b""
        try:
            yield b"retry: 2000\n\n"
            while not self._closed:
                news = self._news
                if self._latest != told:
                    told = self._latest
                    yield b"data: " + told + b"\n\n"
                else:
                    yield b"" if await _set_within(news, _ALIVE_S) else b":\n\n"
        finally:
            self._listeners -= 1
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._announce()

    async def _watch(self) -> None:
        while not self._closed:
            latest = await to_thread.run_sync(self._look)
            if latest != self._latest:
                self._latest = latest
                self._announce()
            await asyncio.sleep(self._every_s)

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _look(self) -> bytes:
        try:
            said = message(self._source.read(lambda store: store.pulse()))
        except StoreError as error:
            said = {"away": str(error)}
        return json.dumps(said, separators=(",", ":"), allow_nan=False).encode()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
