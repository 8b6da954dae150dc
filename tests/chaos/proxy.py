"""A TCP proxy in front of PostgreSQL that cuts connections: at any moment, half of one, or exactly at COMMIT."""

from __future__ import annotations

import contextlib
import math
import random
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

#: SO_LINGER with no time: closing sends a reset instead of a farewell.
_RESET = struct.pack("ii", 1, 0)
_COMMIT, _COMMITTED = b"COMMIT\0", b"COMMIT\0Z"
#: What the server says of a statement that changed exactly one row, as the guard and the claim do.
_CHANGED = b"UPDATE 1\0"


class Proxy:
    """Listens on loopback and forwards to a Unix socket.

    Of the COMMITs that change something, `answers_lost` of 1 are forwarded and their answer is swallowed, and
    `commits_lost` of 1 are not forwarded; either way the connection is reset. `cuts` counts what was done.
    """

    def __init__(self, target: str, chance: random.Random) -> None:
        self.target, self.chance = target, chance
        self.answers_lost = self.commits_lost = 0.0
        self.cuts: Counter[str] = Counter()
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()
        for pair in list(self._pairs):
            pair.cut()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def cut_one(self) -> None:
        """Reset a connection in the middle of whatever it does."""
        if self._pairs:
            self.chance.choice(sorted(self._pairs, key=id)).cut()
            self.cuts["cut"] += 1

    def half_open_one(self, seconds: float) -> None:
        """Let one end of a connection believe for a while that the other is there; then both are reset."""
        if self._pairs:
            pair = self.chance.choice(sorted(self._pairs, key=id))
            pair.half_open(seconds, drop_client=self.chance.random() < 0.5)
            self.cuts["half-open"] += 1

    def fate(self) -> str:
        """What becomes of a COMMIT that changes something."""
        drawn = self.chance.random()
        if drawn < self.answers_lost:
            return "answer lost"
        return "commit lost" if drawn < self.answers_lost + self.commits_lost else ""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target)
            except OSError:
                client.close()
                continue
            pair = _Pair(self, client, server)
            self._pairs.add(pair)
            threading.Thread(target=self._serve, args=(pair,), daemon=True).start()

    def _serve(self, pair: _Pair) -> None:
        try:
            with contextlib.suppress(OSError):
                pair.run()
        finally:
            self._pairs.discard(pair)
            pair.reset()


class _Pair:
    """One connection: the client's end and the server's. Its own thread alone closes them."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self._changed = self._swallow = self._silent = False
        self._ends_at = math.inf

    def run(self) -> None:
        with selectors.DefaultSelector() as ready:
            for end in (self.client, self.server):
                ready.register(end, selectors.EVENT_READ)
            while time.monotonic() < self._ends_at:
                for key, _ in ready.select(0.05):
                    end = self.client if key.fileobj is self.client else self.server
                    if not (data := end.recv(1 << 16)) and self._silent:
                        ready.unregister(end)
                    elif not data or not self._forward(data, end is self.client):
                        return

    def _forward(self, data: bytes, from_client: bool) -> bool:
        """Pass data on; False where the connection ends here."""
        if self._silent:
            return True
        if from_client:
            return self._towards_server(data)
        if self._swallow:
            return _COMMITTED not in data
        self._changed = self._changed or _CHANGED in data
        self.client.sendall(data)
        return True

    def _towards_server(self, data: bytes) -> bool:
        if _COMMIT in data and self._changed:
            self._changed = False
            fate = self.proxy.fate()
            self.proxy.cuts[fate or "commit"] += 1
            if fate == "commit lost":
                return False
            self._swallow = fate == "answer lost"
        self.server.sendall(data)
        return True

    def cut(self) -> None:
        self._ends_at = 0.0

    def half_open(self, seconds: float, *, drop_client: bool) -> None:
        """Nothing comes through any more; with `drop_client` the client learns it now, and else at the end."""
        self._silent, self._ends_at = True, time.monotonic() + seconds
        if drop_client:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.client.close()
        self.server.close()
