"""What the queue and the metrics cost, each beside the plain alternative in the same run: Optuna's own tables.

python benchmarks/bench_store.py             about a minute, on SQLite
python benchmarks/bench_store.py URL         the same on that (empty) PostgreSQL database
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.words import VAL_ACCURACY, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.address import parse_url

TRIALS = 400
ROWS, BATCH = 200_000, 10_000
RESULT = TrialResult(Outcome.FINISHED, 10, {VAL_ACCURACY: 0.5}, "f" * 64)
LAST_ROWS = [MetricRow(VAL_ACCURACY, 10, 0.5)]


def new_study(name: str, trials: int) -> Study:
    settings = Settings(dataset="digits", optimizer=Optimizer(lr=0.1), epochs=1)
    cell = Cell(name="only", levels={}, settings=settings)
    return Study(name=name, question="How fast?", cells=(cell,), seeds=tuple(range(trials)))


def drain(url: str, study: str) -> list[tuple[int, float, float]]:
    """Claim and finish every trial that is left; number, milliseconds to claim, milliseconds in all."""
    timings = []
    with Store.open(url) as store:
        start = time.perf_counter()
        while (lease := store.claim("bench", studies=[study])) is not None:
            claimed = time.perf_counter()
            store.finish(lease, LAST_ROWS, None, RESULT)
            end = time.perf_counter()
            timings.append((lease.number, 1e3 * (claimed - start), 1e3 * (end - start)))
            start = end
    return timings


def queue_alone(url: str) -> str:
    """One process, from claim to claim."""
    with Store.open(url) as store:
        store.create_study(new_study("alone", TRIALS))
    timings = drain(url, "alone")
    both = sorted(total for _, _, total in timings)
    claims = sorted(claim for _, claim, _ in timings)
    return (
        f"claim to finish, 1 process: {sum(both) / len(both):.2f} ms a trial (p50 {median(both):.2f}, "
        f"p99 {both[int(len(both) * 0.99)]:.2f}; of it the claim {median(claims):.2f}), {len(both)} trials"
    )


def queue_shared(url: str, processes: int = 4) -> str:
    """Several processes at once; none may get a trial that another has had."""
    with Store.open(url) as store:
        store.create_study(new_study("warm", processes))
        store.create_study(new_study("shared", TRIALS))
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(drain, [url] * processes, ["warm"] * processes))
        start = time.perf_counter()
        drained = list(pool.map(drain, [url] * processes, ["shared"] * processes))
        seconds = time.perf_counter() - start
    numbers = [number for timings in drained for number, _, _ in timings]
    twice = len(numbers) - len(set(numbers))
    return f"claim to finish, {processes} processes: {1e3 * seconds / TRIALS:.2f} ms a trial, {twice} claimed twice"


def optuna_queue(url: str) -> str:
    """The same with Optuna's ask and tell, one process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=plain_optuna(url), study_name="queue", sampler=optuna.samplers.RandomSampler())
    count = TRIALS // 10
    for place in range(count):
        study.enqueue_trial({"x": float(place)})
    start = time.perf_counter()
    for _ in range(count):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1e9)
        study.tell(trial, 0.5)
    return f"Optuna's own queue, ask to tell, 1 process: {1e3 * (time.perf_counter() - start) / count:.2f} ms a trial"


def plain_optuna(url: str) -> Any:
    import optuna

    return optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))


def metrics(url: str) -> list[str]:
    """Rows per second in batches, one row a transaction, and through Optuna's trial.report; then reading them."""
    import optuna

    names = [f"train/m{place}" for place in range(5)]
    rows = [MetricRow(names[place % 5], place // 5, 1.0 / (1 + place)) for place in range(ROWS)]
    batches = [rows[start : start + BATCH] for start in range(0, ROWS, BATCH)]
    with Store.open(url) as store:
        store.create_study(new_study("metrics", 2))
        batched = rate(len(rows), lambda: write_all(store, batches))
        single = rate(500, lambda: write_all(store, [[row] for row in rows[:500]]))
        read = rate(len(rows), lambda: store.metrics("metrics", names))
    trial = optuna.create_study(storage=plain_optuna(url), study_name="report").ask()
    reported = rate(200, lambda: report_all(trial))
    return [
        f"metrics in batches of {BATCH:,}: {batched:,.0f} rows/s; one row a transaction: {single:,.0f}; "
        f"Optuna's trial.report: {reported:,.0f}",
        f"metrics read as arrays: {read:,.0f} rows/s",
    ]


def report_all(trial: Any) -> None:
    for step in range(200):
        trial.report(0.5, step)


def write_all(store: Store, batches: list[list[MetricRow]]) -> None:
    lease = store.claim("bench", studies=["metrics"])
    assert lease is not None
    for batch in batches:
        lease = store.write(lease, batch)


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def projection(url: str) -> str:
    """Telling Optuna, which happens behind the queue."""
    with Store.open(url) as store:
        store.tell(1)
        told = 0
        start = time.perf_counter()
        while time.perf_counter() - start < 5 and (count := store.tell(50)):
            told += count
        seconds = time.perf_counter() - start
    return f"telling Optuna, behind: {1e3 * seconds / max(told, 1):.1f} ms a trial ({told} trials)"


def fsync(folder: str) -> str:
    """What the disk takes to keep one page; every commit waits for a few of these."""
    durations = []
    with open(Path(folder) / "page", "wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            start = time.perf_counter()
            os.fsync(file.fileno())
            durations.append(time.perf_counter() - start)
    return f"fsync {1e3 * median(durations):.2f} ms"


def main() -> None:
    """Print what was measured, as lines for LOG.md."""
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{Path(folder) / 'bench.db'}"
        Store.open(url, upgrade=True).close()
        backend = f"SQLite {sqlite3.sqlite_version}" if url.startswith("sqlite") else "PostgreSQL"
        print(f"store, {datetime.now(UTC):%Y-%m-%d}, {backend}, Python {platform.python_version()}, {fsync(folder)}")
        for line in (queue_alone(url), queue_shared(url), optuna_queue(url), *metrics(url), projection(url)):
            print(f"- {line}", flush=True)


if __name__ == "__main__":
    main()
