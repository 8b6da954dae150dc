"""Four real workers search together, and are killed."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.child import STEPS, accuracy_of
from support.waiting import wait_for
from support.worker import command

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.types import Outcome, TrialState
from cifarsweep.store import Store

pytestmark = pytest.mark.long

TRIALS = 16
FILE = f"""
name = "find"
question = "Which rate?"
[settings]
dataset = "digits"
epochs = 1
[search]
pruner = "median"
n_trials = {TRIALS}
[search.space]
"optimizer.lr" = {{ low = 1e-4, high = 1.0, log = true }}
batch_size = {{ low = 16, high = 64, step = 16 }}
"""

Process = subprocess.Popen[bytes]
Worker = Callable[[str], Process]


def kill(process: Process) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(200)


@pytest.fixture
def worker(url: str, store: Store, tmp_path: Path) -> Iterator[Worker]:
    """Starts workers, each in a process group of its own; what is left of them at the end is killed."""
    path = tmp_path / "find.toml"
    path.write_text(FILE)
    store.studies.create(read_study(path))
    running: list[Process] = []

    def start(behaviour: str) -> Process:
        asked = command(url, tmp_path, behaviour, script="search", timing=(3.0, 0.2))
        running.append(subprocess.Popen(asked, start_new_session=True))
        return running[-1]

    yield start
    for process in running:
        kill(process)


def assert_it_is_a_whole_search(store: Store) -> None:
    """As many trials as were asked for, no point twice, every row that training gives, ended where it was decided."""
    trials = store.trials.all("find")
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {TrialState.DONE}
    assert len({repr(trial.levels) for trial in trials}) == TRIALS
    curves = store.metrics.read("find", [VAL_ACCURACY])
    for trial in trials:
        steps, values = curves[trial.number, VAL_ACCURACY]
        assert list(steps) == list(range(1, trial.step + 1))
        assert [v.hex() for v in values] == [accuracy_of(trial.settings.optimizer.lr, s).hex() for s in steps.tolist()]
        assert_it_ended_where_it_was_decided(store, trial)
    assert store.admin.check() == []


def assert_it_ended_where_it_was_decided(store: Store, trial: Any) -> None:
    decided = store.search.decisions(trial.number + 1)
    pruned = trial.outcome is Outcome.PRUNED
    assert {step for step, prune in decided.items() if prune} == ({trial.step} if pruned else set())
    assert max(decided) <= trial.step < STEPS if pruned else trial.step == STEPS


def held(store: Store) -> int:
    """How many trials wait in the middle, for ever."""
    return sum(trial.state is TrialState.LEASED and trial.step > 2 for trial in store.trials.all("find"))


def test_four_workers_search_together(store: Store, worker: Worker) -> None:
    workers = [worker("ok") for _ in range(4)]

    assert [process.wait(200) for process in workers] == [0, 0, 0, 0]

    assert_it_is_a_whole_search(store)


def test_workers_that_are_killed_lose_no_point_and_repeat_none(store: Store, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    victims = [worker("held") for _ in range(3)]
    wait_for(lambda: held(store) == len(victims))
    workers = [worker("slow") for _ in range(4)]

    for many, victim in zip((2, 5, 8), victims, strict=True):
        wait_for(lambda many=many: store.studies.status("find")[0].trials[TrialState.DONE] >= many)
        kill(victim)
    kill(workers.pop())  # whatever it does just now

    assert [process.wait(200) for process in workers] == [0, 0, 0]
    assert_it_is_a_whole_search(store)
    assert sum(len(trial.attempts) for trial in store.trials.all("find")) >= TRIALS + len(victims)
