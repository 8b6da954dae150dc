"""A worker whose database neither answers nor refuses."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from support.waiting import wait_for
from support.worker import command

from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store
from cifarsweep.worker import signals
from cifarsweep.worker.signals import Watchdog


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


def test_a_main_loop_that_stands_still_has_its_connections_cut(watched) -> None:
    _, did = watched

    wait_for(lambda: did)

    assert did[0] == "hung up" and "left" not in did


def test_one_signal_is_left_to_the_main_loop_and_a_second_one_ends_it(watched) -> None:
    dog, did = watched
    os.kill(os.getpid(), signal.SIGINT)
    wait_for(lambda: dog.first_signal)
    time.sleep(2)
    assert "left" not in did

    os.kill(os.getpid(), signal.SIGINT)
    wait_for(lambda: "left" in did)

    assert "left" in did and dog.first_signal == signal.SIGINT


def pending(pid: int, number: int) -> bool:
    """Whether a signal was sent to a process that has not heard it."""
    status = Path(f"/proc/{pid}/status")
    masks = re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", status.read_text() if status.exists() else "")
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.long
def test_nobody_has_to_kill_a_worker_that_waits_for_a_lock(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/test.db"
    (tmp_path / "hold").touch()
    with Store.open(url, upgrade=True) as store:
        store.studies.create(read_study(find("demo")))
        asked = command(url, tmp_path, "held", timing=(1.2, 0.5), slots=2)
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as worker:
            wait_for(lambda: any(trial.step for trial in store.trials.all("demo")))
            other = sqlite3.connect(tmp_path / "test.db", isolation_level=None, timeout=60)
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(1)  # by now its beat waits for the lock, for half a minute
            for _ in range(2):
                worker.send_signal(signal.SIGINT)
                wait_for(lambda: not pending(worker.pid, signal.SIGINT))  # two that wait become one

            said, _ = worker.communicate(timeout=200)

            # That is said by who does not wait for the main loop.
            assert worker.returncode == 128 + signal.SIGINT and "trials are free when their leases end" in said
            other.close()
