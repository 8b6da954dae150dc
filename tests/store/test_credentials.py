"""Passwords and TLS options reach PostgreSQL's own library, and no message. The server here only listens."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarsweep.errors import StoreError
from cifarsweep.store import Store

SECRET = "tr0ub4dor"
_TLS_REQUEST = 80877103
_ASK_FOR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


class Listener:
    """Takes one connection: answers a wish for TLS with `tls`, else asks for the password, and hangs up."""

    def __init__(self) -> None:
        self.tls = False
        self.heard = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        conn, _ = self._socket.accept()
        with conn, self._socket:
            packet = self._packet(conn)
            if struct.unpack("!i", packet[:4])[0] == _TLS_REQUEST:
                conn.sendall(b"S" if self.tls else b"N")
                if self.tls or not self._packet(conn):
                    return
            conn.sendall(_ASK_FOR_PASSWORD)
            conn.recv(1)
            self.heard = self._packet(conn).rstrip(b"\0")

    def _packet(self, conn: socket.socket) -> bytes:
        length = conn.recv(4, socket.MSG_WAITALL)
        return conn.recv(struct.unpack("!i", length)[0] - 4, socket.MSG_WAITALL) if length else b""


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    for name in ("PGPASSWORD", "PGPASSFILE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    return Listener()


def refusal(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    return str(caught.value)


def test_the_password_may_come_from_the_environment(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)

    message = refusal(f"postgresql://ann@127.0.0.1:{listener.port}/results")

    assert listener.heard == SECRET.encode() and SECRET not in message


def test_the_password_may_come_from_a_pgpass_file(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{listener.port}:results:ann:{SECRET}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    message = refusal(f"postgresql://ann@127.0.0.1:{listener.port}/results")

    assert listener.heard == SECRET.encode() and SECRET not in message


def test_tls_that_is_asked_for_is_not_done_without(listener: Listener) -> None:
    message = refusal(f"postgresql://ann:{SECRET}@127.0.0.1:{listener.port}/results?sslmode=require")

    assert "SSL was required" in message and SECRET not in message
    assert listener.heard == b""


def test_the_certificate_that_tls_is_checked_with_is_the_one_given(listener: Listener, tmp_path: Path) -> None:
    listener.tls = True
    root = tmp_path / "none.crt"

    message = refusal(
        f"postgresql://ann:{SECRET}@127.0.0.1:{listener.port}/results?sslmode=verify-full&sslrootcert={root}"
    )

    assert str(root) in message and SECRET not in message
