"""Connections that are not held for ever: who does not send a whole request in time is hung up on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds for a whole request, from the first of its bytes or from the connection.
REQUEST_S = 10.0
#: Connections at once, of all and of one address: a browser needs six at most, but a tunnel or proxy stands for many.
_MOST, _MOST_OF_ONE = 512, 128
#: Of a request that is not whole yet.
_UNFINISHED = (h11.IDLE, h11.SEND_BODY)


class Connection(H11Protocol):
    """uvicorn's, which has no time limit for requests: only for the pause after a response."""

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        others = Counter(_address(each) for each in self.connections)
        if others.total() > _MOST or others[_address(self)] > _MOST_OF_ONE:
            transport.abort()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came, however little; more of it buys no time."""
        super().data_received(data)
        if self.conn.their_state in _UNFINISHED:
            self._expect()
        else:
            self._relax()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._relax()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self._hang_up is None:
            self._hang_up = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _relax(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None


def _address(connection: Any) -> str:
    client = cast("tuple[str, int] | None", connection.client)
    return client[0] if client else ""
