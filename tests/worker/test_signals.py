"""A worker whose database neither answers nor refuses."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store
from cifarsweep.worker import signals
from cifarsweep.worker.signals import Watchdog

WORKER = """
import sys
sys.path.insert(0, {tests!r})
from test_interrupted_trials import HASTY, Notes, work
from pathlib import Path
from cifarsweep.store import Store
with Store.open({url!r}, timing=HASTY) as store:
    work(store, Path({folder!r}), "held", Notes())
"""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch):
    """A watchdog of a main loop that can be heard: what it did, in order."""
    monkeypatch.setattr(signals, "LONGEST_TURN_S", 1.0)
    monkeypatch.setattr(signals, "_SECOND_SIGNAL_GRACE_S", 1.0)
    did: list[str] = []
    before = signal.signal(signal.SIGINT, lambda *_: None)
    dog = Watchdog(time.monotonic, lambda: did.append("hung up"), lambda: did.append("left"))
    with dog:
        yield dog, did
    signal.signal(signal.SIGINT, before)


def until(happened) -> None:
    deadline = time.monotonic() + 60
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_main_loop_that_stands_still_has_its_connections_cut(watched) -> None:
    _, did = watched

    until(lambda: did)

    assert did[0] == "hung up" and "left" not in did


def test_one_signal_is_left_to_the_main_loop_and_a_second_one_ends_it(watched) -> None:
    dog, did = watched
    os.kill(os.getpid(), signal.SIGINT)
    until(lambda: dog.first_signal)
    time.sleep(2)
    assert "left" not in did

    os.kill(os.getpid(), signal.SIGINT)
    until(lambda: "left" in did)

    assert "left" in did and dog.first_signal == signal.SIGINT


def test_nobody_has_to_kill_a_worker_that_waits_for_a_lock(tmp_path: Path) -> None:
    url, tests = f"sqlite:///{tmp_path}/test.db", str(Path(__file__).parent)
    (tmp_path / "hold").touch()
    with Store.open(url, upgrade=True) as store:
        store.create_study(read_study(find("demo")))
        command = [sys.executable, "-c", WORKER.format(tests=tests, url=url, folder=str(tmp_path))]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
            until(lambda: any(trial.step for trial in store.trials("demo")))
            other = sqlite3.connect(tmp_path / "test.db", isolation_level=None, timeout=60)
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(1)  # by now its beat waits for the lock, for half a minute
            began = time.monotonic()
            for _ in range(2):
                worker.send_signal(signal.SIGINT)
                time.sleep(0.3)

            _, said = worker.communicate(timeout=60)

            assert worker.returncode == 128 + signal.SIGINT and "trials are free when their leases end" in said
            assert time.monotonic() - began < 25
            other.close()
