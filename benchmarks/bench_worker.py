"""How long a worker makes one wait: until its first step, from one trial to the next, and for a trial of no work.

Each figure is of a real `cifarsweep worker` or Supervisor with a real child and an SQLite database.

    python benchmarks/bench_worker.py            about 60 seconds
    python benchmarks/bench_worker.py URL        trials of no work on that (empty) database, such as PostgreSQL
"""

from __future__ import annotations

import datetime
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cifarsweep.data.catalog import require
from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store
from cifarsweep.worker.child.process import child_command
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.supervisor import Supervisor

TINY = {"model.widths": (4, 8), "model.convs_per_stage": 1, "steps": 2, "log_every": 1}
STARTS = 3


class Moments(Display):
    """Notes when trials are claimed, begin to train, show rows and end."""

    def __init__(self) -> None:
        self.claimed: list[float] = []
        self.rows: list[float] = []
        self.ended: list[float] = []
        self._fresh = False

    def begin(self, slot: int, lease: Any) -> None:
        """A trial was claimed."""
        self.claimed.append(time.perf_counter())
        self._fresh = True

    def metrics(self, slot: int, metrics: Any) -> None:
        """Its first row is the first step done."""
        if self._fresh:
            self.rows.append(time.perf_counter())
        self._fresh = False

    def end(self, slot: int, lease: Any, how: str, result: Any = None) -> None:
        """A trial ended."""
        self.ended.append(time.perf_counter())


def stored(folder: Path, seeds: int, overrides: dict[str, Any], url: str = "") -> Store:
    """A new database with the demo study, shrunk."""
    store = Store.open(url or f"sqlite:///{folder}/bench.db", upgrade=True)
    store.studies.create(read_study(find("demo"), overrides=overrides, seeds=seeds))
    return store


def work(store: Store, folder: Path, command: list[str]) -> Moments:
    """Let a supervisor in this process train everything."""
    moments = Moments()
    plan = WorkerConfig(command=command, artifacts=folder / "checkpoints")
    Supervisor(store, plan, moments, EligibleStudies(store, require)).run()
    return moments


def seconds_to_first_step(folder: Path) -> float:
    """From the start of the command to the first row in the database, which is step 1's."""
    with stored(folder, 1, TINY) as store:
        command = [sys.executable, "-m", "cifarsweep.cli", "worker", "--cpu", "--max-trials", "1"]
        began = time.perf_counter()
        worker = subprocess.Popen([*command, "--db", f"sqlite:///{folder}/bench.db"], stdout=subprocess.DEVNULL)
        while not store.metrics.read("demo", ["train/loss"]):
            time.sleep(0.005)
        found = time.perf_counter() - began
        worker.wait()
    return found


def between_trials(folder: Path) -> float:
    """Milliseconds from the end of a trial to the first step of the next, step included, in one child; the median."""
    with stored(folder, 6, TINY) as store:
        moments = work(store, folder, child_command("cpu"))
    return 1e3 * statistics.median(after - end for end, after in zip(moments.ended, moments.rows[1:], strict=False))


def no_op_trials(folder: Path, url: str = "") -> float:
    """Milliseconds from claim to claim where a trial costs nothing: the median."""
    with stored(folder, 40, {}, url) as store:
        moments = work(store, folder, [sys.executable, __file__, "--child"])
    gaps = [after - before for before, after in zip(moments.claimed, moments.claimed[1:], strict=False)]
    return 1e3 * statistics.median(gaps)


def serve_no_op() -> None:
    """A child whose trials are done at once: one row and no checkpoint."""
    from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
    from cifarsweep.training import events
    from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
    from cifarsweep.worker.child.protocol import Ready

    def train(request: Any, should_stop: Any) -> Iterator[events.Event]:
        yield events.Started(0, 1, 10, 20, 10_000, 1000)
        yield events.Metrics((MetricRow("val/accuracy", 1, 0.5),))
        yield events.Finished(TrialResult(Outcome.FINISHED, 1, {"val/accuracy": 0.5}, "none"), None)

    replies = take_stdout()
    serve(train, Ready("no device", {}), RequestReader(sys.stdin.buffer), replies)


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        os.environ["CIFARSWEEP_DATA"] = data
        starts = []
        for _ in range(STARTS + 1):
            with tempfile.TemporaryDirectory() as folder:
                starts.append(seconds_to_first_step(Path(folder)))
        spent_by_starts = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            gap, no_op = between_trials(Path(folder)), no_op_trials(Path(other))
    cpu = (spent_by_starts.ru_utime + spent_by_starts.ru_stime) / len(starts)
    first = statistics.median(starts[1:])  # the first of all makes the digits and warms the disk's cache
    print(
        f"- {datetime.date.today().isoformat()}, worker ({os.cpu_count()} CPUs, SQLite): first step after {first:.1f} s"
        f" (goal 6; {starts[0]:.1f} s at the very first start;"
        f" {cpu:.1f} s of CPU from start to end); next trial's first step after {gap:.0f} ms (goal 50);"
        f" a trial of no work from claim to claim {no_op:.1f} ms (goal 5)"
    )


def no_op_elsewhere(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spent = no_op_trials(Path(folder), url)
    print(f"- {datetime.date.today().isoformat()}, a trial of no work from claim to claim {spent:.1f} ms (goal 5)")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--child"]:
            serve_no_op()
        case [url]:
            no_op_elsewhere(url)
        case _:
            main()
