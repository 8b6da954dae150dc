"""The queue and the metrics on SQLite, each against what somebody careful would take instead, in turns.

The queue against Optuna's journal file, which claims nothing twice either: claim to finish of a trial without work, by
as many processes. The metrics with one row a transaction, against `trial.report`, which is one as well. Times are by
the clock, as they are mostly those of the disk; turns alternate, so that a busy machine hinders both.

    python benchmarks/bench_queue.py
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import fleet
import peers
from crew import Crew

from cifarsweep.store import Store

TURNS, PROCESSES, TRIALS, ROWS = 5, 4, 200, 200


def our_queue(crew: Crew, folder: Path) -> float:
    """Milliseconds a trial by all processes together."""
    url = opened(folder)
    scale = fleet.Scale(processes=PROCESSES, trials=TRIALS)
    *_, several = fleet.queue(crew, url, "SQLite", scale)
    assert several.claimed_twice == 0
    return several.value


def journal_file(crew: Crew, folder: Path) -> float:
    """The same through Optuna's journal file."""
    spent, claimed_twice, errors = peers.drain_queue(crew, f"journal:{folder / 'journal.log'}", TRIALS, PROCESSES)
    assert (claimed_twice, errors) == (0, 0)
    return spent


def our_rows(crew: Crew, folder: Path) -> float:
    """Milliseconds a row, each in a transaction of its own with the lease's guard in front."""
    url = opened(folder)
    with Store.open(url) as store:
        store.studies.create(fleet.new_study("metrics", 1))
    _, seconds = crew.work([partial(fleet.write_rows, url, "w", ROWS, 1)])
    return 1e3 * seconds / ROWS


def reported_rows(_: Crew, folder: Path) -> float:
    """Milliseconds a row through `trial.report`."""
    return 1e3 / peers.report_rate(f"sqlite:///{folder / 'optuna.db'}", ROWS)


def opened(folder: Path) -> str:
    """The URL of a new database."""
    url = f"sqlite:///{folder / 'ours.db'}"
    Store.open(url, upgrade=True).close()
    return url


def compare(what: str, crew: Crew, ours: Callable[[Crew, Path], float], theirs: Callable[[Crew, Path], float]) -> str:
    """Medians, and the ratio of the times turn by turn."""
    turns = []
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            turns.append((ours(crew, Path(one)), theirs(crew, Path(two))))
    mine, other = (statistics.median(column) for column in zip(*turns, strict=True))
    ratios = sorted(second / first for first, second in turns)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {TURNS} turns"
    return f"{what}: {mine:.2f} ms against {other:.2f}, {statistics.median(ratios):.2f}x as fast ({spread})"


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as folder:
        fsync = fleet.fsync(Path(folder))
    print(f"{datetime.now(UTC):%Y-%m-%d}, SQLite, {PROCESSES} processes, fsync {fsync:.2f} ms", flush=True)
    with closing(Crew(PROCESSES)) as crew:
        print(compare("claim to finish, Optuna's journal file", crew, our_queue, journal_file), flush=True)
        print(compare("one row a transaction, trial.report", crew, our_rows, reported_rows))


if __name__ == "__main__":
    main()
