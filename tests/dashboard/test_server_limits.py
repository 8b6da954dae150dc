"""Limits of connections: for slow requests, and for many from one address."""

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator

import pytest

from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store

ASKED = b"GET /live.css HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds that a request may take from now on; until then so many that none is too slow for it."""

    def to(seconds: float) -> None:
        monkeypatch.setattr("cifarsweep.dashboard.server.REQUEST_S", seconds)

    to(200.0)
    return to


def connected(client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.port), 60)


def rest(stream: socket.socket, sent: bytes = b"") -> bytes:
    """What comes for these bytes before the other end hangs up; a timeout of the socket fails the test."""
    found = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        stream.sendall(sent)
        while chunk := stream.recv(65536):
            found += chunk
    return found


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        ASKED,
        b"GET /live.css HTTP/1.1\r\nContent-Length: 9\r\nHost: localhost\r\n\r\n",
        b"\r\n",
        b"\x16\x03\x01",
    ],
    ids=["nothing", "a word", "no end", "no body", "an empty line", "TLS"],
)
def test_a_request_that_is_not_whole_in_time_is_hung_up_on(serve, url, limit, sent):
    client = serve(url)

    limit(0.2)
    with connected(client) as stream:
        rest(stream, sent)

    limit(200.0)
    assert client.ask("/live.css").status == 200


def test_a_second_request_on_a_connection_has_no_more_time(serve, url, limit):
    client = serve(url)

    with connected(client) as stream:
        stream.sendall(ASKED + b"\r\n")
        begun = stream.recv(65536)
        limit(0.2)
        answers = begun + rest(stream, ASKED)

    assert answers.count(b"HTTP/1.1 200") == 1


def test_more_of_a_request_buys_no_time(serve, url, limit):
    client = serve(url)
    limit(0.3)

    with connected(client) as stream, pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe, as it comes
        stream.sendall(ASKED)
        for _ in range(100_000):
            stream.sendall(b"X-More: 1\r\n")
            stream.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                if not stream.recv(1):
                    raise ConnectionResetError
            stream.settimeout(60)


def begun_in_time(client, stack: contextlib.ExitStack, limit) -> Iterator[dict[str, object]]:
    """A stream of events whose request was whole within a short limit, or a longer one on a slow machine."""
    for seconds in (0.2, 2.0, 20.0, 200.0):
        limit(seconds)
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            return stack.enter_context(client.events())
    raise AssertionError("no request was whole in time")


def test_a_stream_of_events_is_no_request_that_lasts(serve, url, limit):
    client = serve(url)

    with contextlib.ExitStack() as stack:
        events = begun_in_time(client, stack, limit)
        next(events)
        with connected(client) as stream:
            rest(stream)  # this one is hung up on after as long
        with Store.open(url) as store:
            store.studies.create(read_study(find("demo"), name="later"))

        assert any("later" in told["studies"] for told in events)


def test_one_address_can_not_take_all_connections(serve, url, monkeypatch):
    monkeypatch.setattr("cifarsweep.dashboard.server._MOST_OF_ADDRESS", 3)
    client = serve(url)

    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(client)).sendall(b"GET")
        with connected(client) as stream:
            assert rest(stream) == b""
