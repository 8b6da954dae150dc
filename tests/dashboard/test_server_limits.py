"""Limits of connections: for slow requests, and for many from one address."""

import contextlib
import socket

import pytest

ASKED = b"GET /live.css HTTP/1.1\r\nHost: localhost\r\n"


def connected(client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.port), 60)


def rest(stream: socket.socket) -> bytes:
    """What still comes before the other end hangs up; a timeout of the socket fails the test."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
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
def test_a_request_that_is_not_whole_in_time_is_hung_up_on(serve, url, monkeypatch, sent):
    monkeypatch.setattr("cifarsweep.dashboard.server.REQUEST_S", 0.2)
    client = serve(url)

    with connected(client) as stream:
        stream.sendall(sent)
        rest(stream)

    assert client.ask("/live.css").status == 200


def test_a_second_request_on_a_connection_has_no_more_time(serve, url, monkeypatch):
    monkeypatch.setattr("cifarsweep.dashboard.server.REQUEST_S", 0.5)
    client = serve(url)

    with connected(client) as stream:
        stream.sendall(ASKED + b"\r\n")
        begun = stream.recv(65536)
        stream.sendall(ASKED)
        answers = begun + rest(stream)

    assert answers.count(b"HTTP/1.1 200") == 1


def test_more_of_a_request_buys_no_time(serve, url, monkeypatch):
    monkeypatch.setattr("cifarsweep.dashboard.server.REQUEST_S", 0.3)
    client = serve(url)

    with connected(client) as stream:
        stream.sendall(ASKED)
        with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe, as it comes
            for _ in range(100_000):
                stream.sendall(b"X-More: 1\r\n")
                stream.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not stream.recv(1):
                        raise ConnectionResetError
                stream.settimeout(60)


def test_a_stream_of_events_is_no_request_that_lasts(serve, url, monkeypatch):
    monkeypatch.setattr("cifarsweep.dashboard.server.REQUEST_S", 0.2)
    client = serve(url)

    with client.events() as events, connected(client) as stream:
        next(events)
        rest(stream)  # this one is hung up on meanwhile
        connection = connected(client)
        connection.close()

        assert client.ask("/live.css").status == 200


def test_one_address_can_not_take_all_connections(serve, url, monkeypatch):
    monkeypatch.setattr("cifarsweep.dashboard.server._MOST_OF_ADDRESS", 3)
    client = serve(url)

    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(client)).sendall(b"GET")
        with connected(client) as stream:
            assert rest(stream) == b""
