"""Serves the dashboard until it is stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import closing, suppress

import uvicorn

from cifarsweep.dashboard.access import LOOPBACK_NAMES
from cifarsweep.dashboard.connection import Source
from cifarsweep.dashboard.event_stream import EVERY_S, Hub
from cifarsweep.dashboard.page_cache import Pages
from cifarsweep.dashboard.request_timeout import Connection
from cifarsweep.dashboard.routes import build_app
from cifarsweep.errors import DashboardError

#: Characters of a token, and different ones among them.
_SHORTEST, _LEAST_DIFFERENT = 6, 4


class Server(uvicorn.Server):
    """Ends its streams of events first: pages keep them open for ever."""

    def __init__(self, source: Source, token: str | None, host: str, every_s: float = EVERY_S) -> None:
        self._hub = Hub(source, every_s)
        app = build_app(Pages(source), self._hub, token, (*LOOPBACK_NAMES, _in_url(host).lower()))
        # Its own log would tell who asked for what, tokens included.
        config = uvicorn.Config(
            app, access_log=False, log_config=None, log_level="error", lifespan="off", ws="none", http=Connection,
            proxy_headers=False, server_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within a second."""
        self._hub.close()
        await super().shutdown(sockets)


def serve(url: str, host: str, port: int, token: str | None, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `announce` is told the address. Port 0 takes a free one.

    Raises DashboardError where the host needs a token or the port is taken, StoreError where the database is not there.
    """
    check_access(host, token)
    with closing(Source(url)) as source:
        source.read(lambda store: store.stamps())
        with listen(host, port) as listener:
            announce(f"http://{_in_url(host)}:{listener.getsockname()[1]}/")
            # The server has ended in good order when it passes the signal on.
            with suppress(KeyboardInterrupt):
                Server(source, token, host).run(sockets=[listener])


def check_access(host: str, token: str | None) -> None:
    """Raise DashboardError where others than this machine could look without a token."""
    if token is not None and not token.strip():
        raise DashboardError("--token is empty; give it a text that nobody guesses, or leave it out")
    if token is not None and (len(token) < _SHORTEST or len(set(token)) < _LEAST_DIFFERENT):
        raise DashboardError(
            f"--token is too easy to guess; give {_SHORTEST} characters or more, {_LEAST_DIFFERENT} of them different, "
            "for example what `openssl rand -hex 16` prints"
        )
    if token is None and not is_loopback(host):
        raise DashboardError(
            f"--host {host} lets other machines look: give a --token as well, or leave --host out and reach the "
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
        raise DashboardError(f"--host {host}: is no name or address of this machine ({error})") from None
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
