"""What one PostgreSQL spends on each thing that a worker asks of it: processor time of the server's own processes.

A cost is the time that the backends ran (`/proc/PID/schedstat`, nanoseconds) from before a call to after it, so that
another load on the machine changes it little. Leases and queues are made by SQL, of the sizes that are asked for.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import fleet
import psycopg
from sqlalchemy import Connection

from cifarsweep.spec.types import CheckpointRef, MetricRow
from cifarsweep.store.cached import CachedStore
from cifarsweep.store.digests import RowsDigest
from cifarsweep.store.optuna_view import storage
from cifarsweep.store.queue import expiry
from cifarsweep.store.records import ClaimRequest, Environment, Lease, WorkerInfo

ENVIRONMENT = Environment({"digits": "d" * 64})

#: The driver prepares a statement at its sixth use, and the server plans it five times more.
WARM = 12

Samples = tuple[float, ...]


@dataclass(frozen=True)
class Sizes:
    """How much is queued and leased while costs are measured, and how often each thing is done."""

    queued: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    leased: tuple[int, ...] = (100, 3_000, 10_000)
    beside: int = 1_000
    times: int = 40
    backlog: int = 20_000
    idle_connections: int = 80


SMALL = Sizes((200, 2_500), (50, 1_000), 20, 4, 20, 3)


class Cost(NamedTuple):
    """Milliseconds of one call with no lease beside, each a sample, and what every lease of others adds."""

    samples: Samples
    a_lease: float = 0.0

    def at(self, leases: float) -> float:
        """The mean with so many leases."""
        return sum(self.samples) / len(self.samples) + self.a_lease * leases


@dataclass(frozen=True)
class Costs:
    """All that the simulation takes from a real server."""

    calls: Mapping[str, Cost]
    fsync: Samples
    """Milliseconds by the clock."""
    connect: float
    """Milliseconds of the server for a new connection, its settings and what it reads first."""
    connection_mb: float
    tell_client_ms: float
    """Processor time of the worker that tells Optuna of a trial."""
    behind: float
    """The share of processor time that the server's other processes add: WAL writer, checkpointer, autovacuum."""
    table: Sequence[tuple[str, str, float]] = field(default=())
    """What was measured beside: what, where, milliseconds."""


def run_ms(pid: int | str) -> float:
    """Milliseconds that a process has run so far; 0 once it has gone."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def tree_ms(postmaster: int) -> float:
    """Milliseconds of a server's processes, those that have ended too (by ticks of 10 ms)."""
    stat = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    ended = 1e3 * (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return ended + run_ms(postmaster) + sum(map(run_ms, children))


class Meter:
    """The processor time of a server: of the backends that a store uses, or of all its processes."""

    def __init__(self, folder: Path, url: str) -> None:
        self.postmaster = int((folder / "postmaster.pid").read_text().split()[0])
        self.admin: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True)

    def sql(self, statement: str, *values: object) -> list[Any]:
        cursor = self.admin.execute(statement, values or None)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []

    def backends(self) -> list[int]:
        found = self.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'cifarsweep'")
        return [pid for (pid,) in found]

    def close(self) -> None:
        self.admin.close()

    def all_ms(self) -> float:
        return tree_ms(self.postmaster)

    def each(self, times: int, work: Callable[[], object]) -> Samples:
        """Milliseconds of the store's backends for each of so many calls, after some that warm up.

        What a backend does after its answer counts for the next call, so that calls follow one another as they do where
        a server is busy: after a pause each would find the caches cold.
        """
        for _ in range(WARM):
            work()
        pids = self.backends()
        ran = [sum(map(run_ms, pids))]
        for _ in range(times):
            work()
            ran.append(sum(map(run_ms, pids)))
        return tuple(after - before for before, after in pairwise(ran))

    def together(self, times: int, work: Callable[[], object]) -> float:
        """Milliseconds of all processes a call, for work that starts processes: connections, parallel queries."""
        before = self.all_ms()
        for _ in range(times):
            work()
        time.sleep(0.1)
        return (self.all_ms() - before) / times


def fill(meter: Meter, store: CachedStore, name: str, queued: int) -> None:
    """A study with so many trials; its first one is made as always, the others copy it."""
    store.studies.create(fleet.new_study(name, 1))
    meter.sql(
        "INSERT INTO cs_trial (study_id, cell_id, number, seed, state) SELECT study_id, cell_id, n, n, 'queued' "
        "FROM cs_trial JOIN cs_study USING (study_id), generate_series(1, %s) n WHERE name = %s",
        queued - 1,
        name,
    )
    meter.sql("VACUUM ANALYZE")


def lease(meter: Meter, name: str, leased: int) -> None:
    """Let workers that don't exist hold the first trials of the study."""
    meter.sql(
        "UPDATE cs_trial SET state = 'leased', attempt = 1, worker_id = 'other-' || number, token = md5(number::text), "
        "clock = 'server', beat = 1e9, lease_until = extract(epoch FROM clock_timestamp()) + 1e6 FROM cs_study "
        "WHERE cs_study.study_id = cs_trial.study_id AND name = %s AND number < %s AND state = 'queued'",
        name,
        leased,
    )
    meter.sql("VACUUM ANALYZE cs_trial")


class Calls:
    """A worker's calls, with the trials of one study."""

    def __init__(self, store: CachedStore, study: str) -> None:
        self.store, self.study = store, study
        self.leases: list[Lease] = []
        self.step = 0

    def claim(self) -> None:
        request = {"slot": 0, "environment": ENVIRONMENT, "identify": fleet.identify}
        found = self.store.queue.claim("worker", studies=[self.study], **request)  # type: ignore[arg-type]
        assert found is not None
        self.leases.append(found)

    def _rows(self) -> list[MetricRow]:
        self.step += 1
        return [MetricRow(name, self.step, 0.5) for name in fleet.NAMES]

    def beat(self) -> None:
        self.leases[-1] = self.store.queue.write(self.leases[-1], self._rows())

    def save(self) -> None:
        ref = CheckpointRef(self.step + 1, f"checkpoints/{self.step}", "c" * 64, 1_000_000)
        self.leases[-1] = self.store.queue.write(self.leases[-1], self._rows(), ref)

    def finish(self, want: ClaimRequest | None = None) -> None:
        written = RowsDigest()
        written.add(fleet.LAST_ROWS)
        following = self.store.queue.finish(self.leases.pop(), fleet.LAST_ROWS, None, fleet.RESULT, want, {}, written)
        if following is not None:
            self.leases.append(following)

    def chain(self) -> None:
        self.finish(ClaimRequest("worker", [self.study], 0, ENVIRONMENT, fleet.identify))

    def look(self) -> None:
        self.store.queue.studies_left()
        self.store.queue.refused({self.study: ENVIRONMENT.data})

    def check(self) -> None:
        """Read all leases for those that have expired, as a claim does once a second."""
        self.store._db.write(self._check)

    def _check(self, conn: Connection) -> None:
        conn.exec_driver_sql("UPDATE cs_lease_check SET moment = 0")
        assert expiry.mark_expired(conn, 60.0)

    def idle_poll(self) -> None:
        self.look()
        assert self.store.queue.claim("idle", studies=[self.study], environment=ENVIRONMENT) is None
        self.store.queue.has_unfinished([self.study])


@contextmanager
def opened(url: str) -> Iterator[CachedStore]:
    with CachedStore.open(url, upgrade=True) as store:
        yield store


def line(low: tuple[int, Samples], high: tuple[int, Samples]) -> Cost:
    """Samples without leases, and the slope between medians at two numbers of leases."""
    slope = max(0.0, (median(high[1]) - median(low[1])) / (high[0] - low[0]))
    return Cost(tuple(max(0.0, value - slope * low[0]) for value in low[1]), slope)


def measure(meter: Meter, store: CachedStore, url: str, sizes: Sizes) -> tuple[Costs, dict[str, Cost]]:
    """All costs, and those of variants by name, on an empty database."""
    import server_variants

    logging.getLogger("cifarsweep").setLevel(logging.ERROR)  # not each read that takes long here

    table: list[tuple[str, str, float]] = []
    store.queue.register_worker(WorkerInfo("worker", "box", 1, "NVIDIA H200", 1, {"torch": "2.15"}))
    by_queue(meter, store, sizes, table)
    fill(meter, store, "leases", max(sizes.queued[1], 2 * sizes.leased[-1]))
    calls = by_leases(meter, store, "leases", sizes, table)
    changed = server_variants.measure(meter, url, "leases", sizes, table)
    study = f"queue-{sizes.queued[-1]}"
    calls |= others(meter, store, study, sizes, table)
    telling_costs, client = telling(meter, store, url, study, sizes, table)
    calls |= telling_costs
    behind = in_background(meter, store, study, sizes)
    megabytes = median(map(memory_mb, meter.backends()))
    with many_connections(url, sizes.idle_connections):
        table.append(
            ("beat", f"{sizes.idle_connections} idle connections beside", beats_ms(meter, store, study, sizes))
        )
    connect = connecting(meter, store, study)
    table.append(("other processes of the server", "a share of the backends' time", behind))
    disk = tuple(fsyncs(Path(str(meter.sql("SHOW data_directory")[0][0]))))
    table.append(("a flush of the log", "by the clock", median(disk)))
    table += [("a new connection", "", connect), ("a connection, MB", "", megabytes)]
    return Costs(calls, disk, connect, megabytes, client, behind, table), changed


def beats_ms(meter: Meter, store: CachedStore, study: str, sizes: Sizes) -> float:
    return median(meter.each(sizes.times, caller(store, study).beat))


def caller(store: CachedStore, study: str) -> Calls:
    """Calls of a worker that holds a trial."""
    calls = Calls(store, study)
    calls.claim()
    return calls


def by_queue(meter: Meter, store: CachedStore, sizes: Sizes, table: list[tuple[str, str, float]]) -> None:
    """What the length of the queue costs; the database has all shorter ones too."""
    for queued in sizes.queued:
        fill(meter, store, f"queue-{queued}", queued)
        lease(meter, f"queue-{queued}", sizes.beside)
        calls = caller(store, f"queue-{queued}")
        where = f"{queued:,} queued, {sizes.beside:,} leased"
        for what in ("claim", "beat", "look"):
            table.append((what, where, median(meter.each(sizes.times, getattr(calls, what)))))
        table.append(("counting all trials (status)", where, meter.together(2, store.studies.status)))
        table.append(("a dashboard's look (snapshot)", where, meter.together(2, store.snapshot)))


def by_leases(
    meter: Meter, store: CachedStore, study: str, sizes: Sizes, table: list[tuple[str, str, float]]
) -> dict[str, Cost]:
    """What grows with the leases of others."""
    found: dict[str, list[tuple[int, Samples]]] = {"claim": [], "check": [], "poll": []}
    for leased in sizes.leased:
        lease(meter, study, leased)
        found["claim"].append((leased, meter.each(sizes.times, caller(store, study).claim)))
        found["check"].append((leased, meter.each(sizes.times, Calls(store, study).check)))
        store.studies.create(fleet.new_study(f"end-{leased}", 1))
        fill_leased(meter, f"end-{leased}", leased)
        found["poll"].append((leased, meter.each(sizes.times, Calls(store, f"end-{leased}").idle_poll)))
        for what, points in found.items():
            table.append((what, f"{leased:,} leased", median(points[-1][1])))
    return {what: line(points[0], points[-1]) for what, points in found.items()}


def fill_leased(meter: Meter, name: str, leased: int) -> None:
    """A study of which every trial is leased: the end of a study, where other workers poll."""
    meter.sql(
        "INSERT INTO cs_trial (study_id, cell_id, number, seed, state) SELECT study_id, cell_id, n, n, 'queued' "
        "FROM cs_trial JOIN cs_study USING (study_id), generate_series(1, %s) n WHERE name = %s",
        leased - 1,
        name,
    )
    lease(meter, name, leased)


def others(
    meter: Meter, store: CachedStore, study: str, sizes: Sizes, table: list[tuple[str, str, float]]
) -> dict[str, Cost]:
    """What does not grow with leases."""
    calls, found = Calls(store, study), {}
    for _ in range(2 * (sizes.times + WARM)):
        calls.claim()
    for what in ("finish", "beat", "save", "look", "chain"):
        found[what] = Cost(meter.each(sizes.times, getattr(calls, what)))
    found["alive"] = Cost(meter.each(sizes.times, lambda: store.queue.beat_worker("worker")))
    table += [(what, "", median(cost.samples)) for what, cost in found.items()]
    return found


def connecting(meter: Meter, store: CachedStore, study: str) -> float:
    """Milliseconds that a beat takes more over a new connection: settings, and what the server reads first."""
    calls = caller(store, study)

    def reconnect() -> None:
        store._db.engine.dispose()
        calls.beat()

    return meter.together(20, reconnect) - meter.together(20, calls.beat)


def telling(
    meter: Meter, store: CachedStore, url: str, study: str, sizes: Sizes, table: list[tuple[str, str, float]]
) -> tuple[dict[str, Cost], float]:
    """Whether there is something to tell Optuna, which every worker asks at each beat while another one tells."""
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (storage._SYNC_LOCK,))
        few = meter.together(20, store.sync_optuna)
        meter.sql(
            "UPDATE cs_trial SET state = 'done', outcome = 'finished' FROM cs_study "
            "WHERE cs_study.study_id = cs_trial.study_id AND name = %s AND state = 'queued' AND number > %s",
            study,
            sizes.queued[-1] - sizes.backlog,
        )
        meter.sql("VACUUM ANALYZE cs_trial")
        many = meter.together(20, store.sync_optuna)
        # Else its end, some time after that of this connection, would give the lock back.
        other.execute("SELECT pg_advisory_unlock(%s)", (storage._SYNC_LOCK,))
    table += [
        ("asking whether to tell Optuna", "few are untold", few),
        ("asking whether to tell Optuna", f"{sizes.backlog:,} untold", many),
    ]
    store.sync_optuna(1)  # it makes Optuna's study first
    start, computed = time.perf_counter(), time.process_time()
    told: list[int] = []
    spent = meter.together(1, lambda: told.append(store.sync_optuna(5 * sizes.times))) / told[0]
    client = 1e3 * (time.process_time() - computed) / told[0]
    table.append(("telling Optuna a trial", "server", spent))
    table.append(("telling Optuna a trial", "the worker's processor time", client))
    table.append(("telling Optuna a trial", "by the clock", 1e3 * (time.perf_counter() - start) / told[0]))
    return {"tell": Cost((few,)), "told": Cost((spent,))}, client


def in_background(meter: Meter, store: CachedStore, study: str, sizes: Sizes) -> float:
    """Processor time of the server's other processes for each of the backends', while workers beat."""
    workers = [caller(store, study) for _ in range(sizes.times)]
    mine, shares = meter.backends(), []
    meter.sql("CHECKPOINT")
    for _ in range(9):
        before, backends = meter.all_ms(), sum(map(run_ms, mine))
        for _ in range(5):
            for worker in workers:
                worker.beat()
        spent = sum(map(run_ms, mine)) - backends
        shares.append((meter.all_ms() - before - spent) / spent)
    # The median: now and then autovacuum takes a second, for what was filled in here.
    return max(0.0, median(shares))


def memory_mb(pid: int) -> float:
    """What a backend has for itself, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(text.split()[1]) for text in lines if text.startswith("Private")) / 1024


@contextmanager
def many_connections(url: str, count: int) -> Iterator[None]:
    opened = [psycopg.connect(url) for _ in range(count)]
    try:
        yield
    finally:
        for connection in opened:
            connection.close()


def fsyncs(folder: Path) -> Iterator[float]:
    """Milliseconds that the disk takes to keep what a commit waits for."""
    with open(folder / "page", "wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 8192)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            yield 1e3 * (time.perf_counter() - start)
