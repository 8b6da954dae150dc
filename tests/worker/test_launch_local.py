"""A launcher and its workers as real processes: they start again, stop together, and none outlives the launcher."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support import worker
from support.waiting import wait_for
from support.worker import TRIALS

from cifarsweep.errors import DeviceError
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.worker import gpus
from cifarsweep.worker.launch.local import Backoff, WorkerCommand, WorkerGroup

AT_ONCE = Backoff(first_s=0.01, longest_s=0.01, max_crashes=3)


@pytest.fixture
def launcher(url: str, tmp_path: Path):
    """Start a launcher of two workers; those of trials that are held train until somebody stops them."""
    started: list[subprocess.Popen[bytes]] = []

    def _start(behaviour: str, **options: float) -> subprocess.Popen[bytes]:
        (tmp_path / "hold").touch()
        command = worker.command(url, tmp_path, behaviour, "launch", **options)
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return started[-1]

    yield _start
    for process in started:
        process.kill()
        process.wait()


def run(tmp_path: Path, script: str, backoff: Backoff = AT_ONCE) -> tuple[int, list[str]]:
    """Run one member that is a script, to the end; the exit code and what was said."""
    said: list[str] = []
    member = WorkerCommand("w", (sys.executable, "-c", script))
    return WorkerGroup([member], tmp_path / "logs", lambda name, line: said.append(line), backoff).run(), said


def until_both_train(url: str, process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Wait until each worker has a trial; every process below the launcher."""
    give_up = time.monotonic() + 200.0
    while counts(url)[TrialState.LEASED] < 2:
        assert process.poll() is None and time.monotonic() < give_up, "the workers never trained two trials at once"
        time.sleep(0.1)
    return psutil.Process(process.pid).children(recursive=True)


def counts(url: str) -> dict[TrialState, int]:
    with Store.open(url, read_only=True) as store:
        return dict(store.studies.status("demo")[0].trials)


def assert_everything_is_there_once(url: str) -> None:
    with Store.open(url, read_only=True) as store:
        worker.assert_everything_is_there_once(store)


def test_two_workers_do_every_trial_once_and_their_output_is_kept(url, launcher, tmp_path):
    assert launcher("ok").wait(200) == 0

    assert_everything_is_there_once(url)
    logs = [(tmp_path / "logs" / f"cpu{number}.log").read_text() for number in range(2)]
    assert sum(text.count(": begins") for text in logs) == TRIALS


def test_a_worker_that_crashes_is_started_again(tmp_path):
    script = f"import os; os.mkdir({str(tmp_path / 'once')!r}); print('first', flush=True); os.abort()"

    code, said = run(tmp_path, f"try:\n {script}\nexcept FileExistsError: print('second')")

    assert code == 0
    assert [line.split(";")[0] for line in said] == [
        "first",
        "crashed, killed by SIGABRT: starts again in 0 s",
        "second",
        "ended, exit code 0",
    ]


@pytest.mark.parametrize(("code", "why"), [(0, ""), (2, ""), (70, ""), (143, ", asked to stop")])
def test_a_worker_whose_end_is_final_is_not_started_again(tmp_path, code, why):
    assert run(tmp_path, f"raise SystemExit({code})") == (code, [f"ended, exit code {code}{why}"])


def test_a_worker_that_does_nothing_but_crash_is_given_up(tmp_path):
    code, said = run(tmp_path, "raise SystemExit(9)")

    assert code == 9
    assert len(said) == AT_ONCE.max_crashes and "3 times in a row: given up" in said[-1]


def test_a_worker_whose_database_is_away_is_never_given_up(tmp_path):
    count = f"import pathlib; left = pathlib.Path({str(tmp_path / 'left')!r}); left.open('a').write('x'); "

    code, said = run(tmp_path, f"{count} raise SystemExit(75 if len(left.read_text()) < 6 else 0)")

    assert code == 0
    assert [line.split(":")[0] for line in said] == ["the database is away"] * 5 + ["ended, exit code 0"]


def test_a_worker_that_was_launched_waits_for_a_database_that_is_away_where_others_refuse_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DB", "postgresql://nobody@127.0.0.1:9/none")
    worker = [sys.executable, "-m", "cifarsweep.cli", "worker", "--cpu"]

    by_hand = subprocess.run(worker, capture_output=True, check=False)
    with subprocess.Popen([*worker, "--until-eof"], stderr=subprocess.DEVNULL, stdin=subprocess.PIPE) as launched:
        code = launched.wait()

    assert (by_hand.returncode, code) == (2, 75)


def test_pauses_grow_up_to_a_minute():
    assert [Backoff().pause_s(crashes) for crashes in (1, 2, 3, 7, 8, 500)] == [1, 2, 4, 60, 60, 60]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_one_signal_gives_all_leases_back_and_leaves_no_process(url, launcher, number, code):
    process = launcher("held")
    family = until_both_train(url, process)

    process.send_signal(number)

    assert process.wait(200) == code
    assert psutil.wait_procs(family, timeout=200)[1] == []
    assert counts(url)[TrialState.LEASED] == 0 and counts(url)[TrialState.QUEUED] > 0


def test_a_signal_to_every_process_of_the_job_stops_them_as_politely(url, launcher):
    process = launcher("held")
    family = until_both_train(url, process)

    for each in [psutil.Process(process.pid), *family]:
        with contextlib.suppress(psutil.NoSuchProcess):  # the first may have stopped the last by now
            each.send_signal(signal.SIGTERM)

    assert process.wait(200) == 143
    with Store.open(url, read_only=True) as store:
        ends = {attempt.end for trial in store.trials.all("demo") for attempt in trial.attempts}
    assert {end.value for end in ends if end} <= {"done", "released"}


def test_the_second_signal_waits_for_nobody(url, launcher, tmp_path):
    process = launcher("hang-once", grace_s=3600.0)
    until_both_train(url, process)
    wait_for(lambda: len(list(tmp_path.glob("demo-*"))) == 2)  # what a child leaves behind before it hangs

    process.send_signal(signal.SIGINT)
    # Two signals of one kind become one where the first is not heard yet.
    wait_for(lambda: any("stopping: " in log.read_text() for log in (tmp_path / "logs").iterdir()))
    process.send_signal(signal.SIGINT)

    assert process.wait(200) == 130  # who waits for a child that hangs waits an hour
    assert counts(url)[TrialState.LEASED] == 0


@pytest.mark.long
def test_workers_of_a_launcher_that_was_killed_stop_in_good_order(url, launcher):
    process = launcher("held")
    family = until_both_train(url, process)

    os.kill(process.pid, signal.SIGKILL)

    assert psutil.wait_procs(family, timeout=200)[1] == []
    assert counts(url)[TrialState.LEASED] == 0
    assert launcher("ok").wait(200) == 0
    assert_everything_is_there_once(url)


@pytest.mark.parametrize(
    ("visible", "wanted", "expected"),
    [(None, "all", [0, 1, 2]), ("2,1", "all", [0, 1]), (None, "2,0,2", [0, 2]), (None, " 1 ", [1])],
)
def test_gpus_are_chosen_as_training_numbers_them(monkeypatch, visible, wanted, expected):
    pretend(monkeypatch, 3, visible)

    assert gpus.parse_gpus(wanted) == expected


@pytest.mark.parametrize(
    ("count", "wanted", "sentence"),
    [(3, "3", "no GPU 3: this machine has 3"), (0, "all", "has 0"), (3, "a,b", "neither all"), (3, "", "neither")],
)
def test_gpus_that_are_not_here_are_refused(monkeypatch, count, wanted, sentence):
    pretend(monkeypatch, count, None)

    with pytest.raises(DeviceError, match=sentence):
        gpus.parse_gpus(wanted)


def pretend(monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None) -> None:
    monkeypatch.setattr(gpus, "installed", lambda: [gpus.Gpu("a GPU", 1, 1, "1")] * count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
