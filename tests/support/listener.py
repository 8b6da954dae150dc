"""A server on loopback that is told of events."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any

#: Stands in the address of the server, and is to stand nowhere else.
SECRET = "T0KEN5ecret"


class Listener(ThreadingHTTPServer):
    """Keeps what it is sent: headers and JSON."""

    def __init__(self, answer: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.heard: Queue[tuple[dict[str, str], Any]] = Queue()
        #: Set lets those go on that wait for an answer.
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/{SECRET}?key={SECRET}"

    def events(self) -> list[Any]:
        """What it was sent so far."""
        found = []
        try:
            while True:
                found.append(self.heard.get_nowait()[1])
        except Empty:
            return found


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.put((dict(self.headers), json.loads(body)))
        self.server.may_answer.wait(200)
        self.send_response(self.server.answer)
        if self.server.answer == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[Listener]:
    """A server of a thread of its own."""
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()
