"""Polls the database once for all open pages, while any is open, and passes on what changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from anyio import to_thread

from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.dashboard.live_state import message
from cifarsweep.errors import StoreError
from cifarsweep.store.status_records import pause_after

EVERY_S = 2.0
#: Seconds of silence after which a comment is sent, so that proxies and browsers keep the connection.
_KEEP_ALIVE_S = 15.0


class EventStream:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) for any number of pages."""

    def __init__(self, connection: StoreConnection, every_s: float = EVERY_S) -> None:
        self._connection, self._every_s = connection, every_s
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._latest = b""
        self._took_s = 0.0
        self._closed = False

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the latest message, then each new one; a slow reader misses some, but never the last."""
        self._listeners += 1
        if self._task is None:
            self._latest = b""
            self._task = asyncio.create_task(self._poll_forever())
        sent = b""
        try:
            yield b"retry: 2000\n\n"
            while not self._closed:
                news = self._news
                if self._latest != sent:
                    sent = self._latest
                    yield b"data: " + sent + b"\n\n"
                else:
                    yield b"" if await _set_within(news, _KEEP_ALIVE_S) else b":\n\n"
        finally:
            self._listeners -= 1
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._announce()

    async def _poll_forever(self) -> None:
        while not self._closed:
            latest = await to_thread.run_sync(self._poll)
            if latest != self._latest:
                self._latest = latest
                self._announce()
            await asyncio.sleep(pause_after(self._took_s, self._every_s))

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _poll(self) -> bytes:
        began = time.monotonic()
        try:
            state = message(self._connection.read(lambda store: store.snapshot()))
            self._took_s = time.monotonic() - began
        except StoreError as error:
            # One that does not answer is asked as often as ever.
            state, self._took_s = {"away": str(error)}, 0.0
        return json.dumps(state, separators=(",", ":"), allow_nan=False).encode()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
