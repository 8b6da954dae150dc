"""`cifarsweep dashboard` as a user starts it, and a sweep that does not notice it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.waiting import wait_for
from support.worker import command as command_of_worker

from cifarsweep.dashboard.server import serve as run
from cifarsweep.errors import DashboardError, StoreError
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cifarsweep.cli", "dashboard", *arguments]


@pytest.fixture
def start(tmp_path):
    started = []

    def _start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | env
        )
        started.append(process)
        return process

    yield _start
    for process in started:
        process.kill()
        process.communicate()


def port_of(process: subprocess.Popen[str]) -> int:
    line = process.stdout.readline()
    found = re.match(r"http://127\.0\.0\.1:(\d+)/ ", line)
    assert found, line + process.stdout.read()
    return int(found[1])


def open_stream(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), 60)
    stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in stream.recv(100)
    return stream


def test_ctrl_c_ends_it_in_good_order_while_pages_are_open(start, url):
    process = start("--db", url, "--port", "0")
    port = port_of(process)
    streams = [open_stream(port) for _ in range(3)]

    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=200)  # it takes about one second; pages keep their streams open for ever

    assert process.returncode == 0
    assert re.sub(r"a read of \S+ took [\d.]+ s\n", "", said) == ""  # as on a busy machine
    for stream in streams:
        stream.close()


def test_the_token_from_the_environment_is_asked_for_and_never_printed(start, url, serve):
    process = start("--db", url, "--port", "0", CIFARSWEEP_TOKEN="s3cret")
    port = port_of(process)
    with socket.create_connection(("127.0.0.1", port), 60) as stream:
        stream.sendall(b"GET /?token=s3cret HTTP/1.0\r\n\r\n")
        assert b"set-cookie" in stream.makefile("rb").read()
    with socket.create_connection(("127.0.0.1", port), 60) as stream:
        stream.sendall(b"rubbish s3cret\r\n\r\n")
        assert b"400" in stream.makefile("rb").read()
    process.send_signal(signal.SIGINT)

    assert "s3cret" not in process.communicate(timeout=200)[0]


def test_what_can_not_be_served_is_a_sentence(url, tmp_path, left_open):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("--db", url, "--port", port), capture_output=True, text=True, timeout=200, check=False
        )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: 127.0.0.1:{port}: can't be listened on (Address already in use)")
    with pytest.raises(StoreError, match="there is no such database"):
        run(f"sqlite:///{tmp_path}/absent.db", "127.0.0.1", 0, None, pytest.fail)
    with pytest.raises(DashboardError, match="--host"):
        run(url, "no.such.host.invalid", 0, "s3cret", pytest.fail)
    assert left_open() == []


@contextmanager
def watched(client, store: Store) -> Iterator[list[int]]:
    """Let two readers ask for the page again and again, and three listen; how the page was answered."""
    over = threading.Event()
    answers: list[int] = []

    def poll() -> None:
        while not over.is_set():
            answers.append(client.ask("/demo.html").status)
            over.wait(0.05)

    def listen() -> None:
        with client.events() as events:
            for _ in events:
                if over.is_set():
                    return

    watchers = [threading.Thread(target=work) for work in (poll, poll, listen, listen, listen)]
    for watcher in watchers:
        watcher.start()
    try:
        wait_for(lambda: answers)
        yield answers
    finally:
        over.set()
        # One more message for those who listen.
        store.studies.add_seeds("demo", [(store.trials.all("demo")[0].cell, 99)])
        for watcher in watchers:
            watcher.join(200)


def test_a_sweep_on_sqlite_does_not_notice_who_watches(serve, url, tmp_path):
    command = command_of_worker(url, tmp_path, "slow", slots=3, timing=(8.0, 0.5))
    with Store.open(url) as store, watched(serve(url, every_s=0.02), store) as answers:
        before = len(answers)
        worker = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        meanwhile = len(answers) - before
        untold = store.unsynced()
        states = [trial.state for trial in store.trials.all("demo")]
        assert store.admin.check() == []

    # On a slow disk it may say so with nobody watching as well; then it catches up.
    said = re.sub(r"Optuna's view of \S+ lags behind: .*database is locked.*\n", "", worker.stdout + worker.stderr)
    assert (worker.returncode, untold, said.startswith("this worker's trials: 12 done")) == (0, 0, True), said
    assert states == [TrialState.DONE] * 12
    assert meanwhile > 0 and set(answers) == {200}
