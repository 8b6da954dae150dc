"""A real server with a real database, and a small client that keeps what it was answered."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cifarsweep.dashboard.connection import StoreConnection
from cifarsweep.dashboard.server import Server, listen
from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Client:
    """Asks one server; `host` is what it calls it."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=self.headers | named)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)

    @contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of the stream as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request("GET", "/events", headers=self.headers)
            with connection.getresponse() as response:
                lines = iter(response.readline, b"")
                yield (json.loads(line[6:]) for line in lines if line.startswith(b"data: "))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that holds the demo study."""
    found = f"sqlite:///{tmp_path / 'results.db'}"
    with Store.open(found, upgrade=True) as store:
        store.studies.create(read_study(find("demo")))
    return found


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Start a server in a thread; every one is stopped at the end."""
    started: list[tuple[Server, threading.Thread]] = []

    def _serve(url: str, token: str | None = None, host: str = "127.0.0.1", every_s: float = 0.1) -> Client:
        listener = listen("127.0.0.1", 0)
        connection = StoreConnection(url)
        server = Server(connection, token, host, every_s)

        def run() -> None:
            with listener:
                server.run(sockets=[listener])
            connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        started.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return Client(listener.getsockname()[1])

    yield _serve
    for server, thread in started:
        server.should_exit = True
        thread.join(200)
        assert not thread.is_alive()
