"""Serves the dashboard until it is stopped, with limits for slow and many connections."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cifarsweep.dashboard.access import LOOPBACK_NAMES
from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.dashboard.event_stream import EVERY_S, EventStream
from cifarsweep.dashboard.page_cache import PageCache
from cifarsweep.dashboard.routes import build_app
from cifarsweep.errors import DashboardError

#: Characters of a token, and different ones among them.
_SHORTEST, _LEAST_DIFFERENT = 6, 4
#: Seconds for a whole request, from the first of its bytes or from the connection.
REQUEST_S = 10.0
#: Connections at once, of all and of one address: a browser needs six at most, but a tunnel or proxy stands for many.
_MOST_CONNECTIONS, _MOST_OF_ADDRESS = 512, 128
#: Of a request that is not whole yet.
_UNFINISHED = (h11.IDLE, h11.SEND_BODY)


class Server(uvicorn.Server):
    """A server that ends its streams of events first: pages keep them open for ever."""

    def __init__(self, connection: StoreConnection, token: str | None, host: str, every_s: float = EVERY_S) -> None:
        self._events = EventStream(connection, every_s)
        app = build_app(PageCache(connection), self._events, token, (*LOOPBACK_NAMES, _in_url(host)))
        # uvicorn's log would hold tokens.
        config = uvicorn.Config(
            app, access_log=False, log_config=None, log_level="error", lifespan="off", ws="none", http=TimedProtocol,
            proxy_headers=False, server_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within a second."""
        self._events.close()
        await super().shutdown(sockets)


def serve(url: str, host: str, port: int, token: str | None, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `announce` gets the address. Port 0 takes a free one.

    Raises DashboardError if the host needs a token or the port is taken, StoreError if the database can't be read.
    """
    check_access(host, token)
    with closing(StoreConnection(url)) as connection:
        connection.read(lambda store: store.fingerprints())
        with listen(host, port) as listener:
            announce(f"http://{_in_url(host)}:{listener.getsockname()[1]}/")
            # The server has shut down in order when it passes the signal on.
            with suppress(KeyboardInterrupt):
                Server(connection, token, host).run(sockets=[listener])


def check_access(host: str, token: str | None) -> None:
    """Raise DashboardError if other machines could read without a token, or the token is easy to guess."""
    if token is not None and not token.strip():
        raise DashboardError("--token is empty; give a text that can't be guessed, or leave it out")
    if token is not None and (len(token) < _SHORTEST or len(set(token)) < _LEAST_DIFFERENT):
        raise DashboardError(
            f"--token is too easy to guess; give {_SHORTEST} characters or more, {_LEAST_DIFFERENT} of them different, "
            "for example what `openssl rand -hex 16` prints"
        )
    if token is None and not is_loopback(host):
        raise DashboardError(
            f"--host {host} lets other machines read: give a --token as well, or leave --host out and reach the "
            "dashboard through `ssh -L`"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that a port that is taken is known before anything starts. Raises DashboardError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise DashboardError(f"--host {host}: is not a name or address of this machine ({error})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DashboardError(
            f"{host}:{port}: can't be listened on ({error.strerror}); choose another --port, or 0 for any free one"
        ) from None
    return listener


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class TimedProtocol(H11Protocol):
    """uvicorn's protocol with a time limit for requests, which it has only for the pause after a response."""

    _timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        others = Counter(_address(other) for other in self.connections)
        if others.total() > _MOST_CONNECTIONS or others[_address(self)] > _MOST_OF_ADDRESS:
            transport.abort()
            return
        self._start_timeout()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in _UNFINISHED:
            self._start_timeout()
        else:
            self._cancel_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timeout()
        super().connection_lost(exc)

    def _start_timeout(self) -> None:
        if self._timeout is None:
            self._timeout = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None


def _address(connection: Any) -> str:
    client = cast("tuple[str, int] | None", connection.client)
    return client[0] if client else ""
