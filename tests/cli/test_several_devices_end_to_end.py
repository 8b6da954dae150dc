"""A trial on two devices, each a process here: killed as a whole and in part, taken over, and trained again."""

import signal
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select
from support.waiting import wait_for

from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.schema import checkpoint

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
QUICK = {"CIFARSWEEP_LEASE": "6", "CIFARSWEEP_BEAT": "0.3", "CIFARSWEEP_SAVE_EVERY": "0.3"}
STUDY = """
name = "two"
question = "Do two devices train what they trained before?"
seeds = 1
[settings]
dataset = "digits"
epochs = 6
batch_size = 128
devices = 2
batch_norm = "synchronised"
model = { name = "convnet", widths = [8, 16], dropout = 0.1 }
"""


def newest_checkpoint(folder: Path) -> int:
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        return store._db.read(lambda conn: conn.execute(select(func.max(checkpoint.c.step))).scalar_one()) or 0


def test_two_devices_are_killed_and_taken_over_to_the_bits_that_a_repetition_has(call, cli, start, tmp_path):
    (tmp_path / "two.toml").write_text(STUDY)
    assert call("create", "two.toml").returncode == 0
    first = start("worker", "--cpu", **QUICK)
    wait_for(lambda: newest_checkpoint(tmp_path))
    processes = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not psutil.wait_procs(processes, timeout=200)[1], "nothing trains on without its worker"
    before = newest_checkpoint(tmp_path)

    second = start("worker", "--cpu", **QUICK)
    wait_for(lambda: newest_checkpoint(tmp_path) > before)
    peer = next(
        each for each in psutil.Process(second.pid).children(recursive=True) if "child.peer" in str(each.cmdline())
    )
    peer.kill()

    assert second.wait(200) == 0
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", read_only=True) as store:
        (trial,) = store.trials.all("two")
        assert store.admin.check() == []
    ends = [attempt.end for attempt in trial.attempts]
    assert trial.state is TrialState.DONE and ends == [AttemptEnd.TAKEN_OVER, AttemptEnd.CRASHED, AttemptEnd.DONE]
    assert all(attempt.first_step for attempt in trial.attempts[1:])
    again = cli("replay", "two/0", "--cpu")
    assert again.returncode == 0 and "two/0: reproduced" in again.stdout, again.stdout + again.stderr
    assert "2 processes on" in call("show", "two/0", COLUMNS="300").stdout
