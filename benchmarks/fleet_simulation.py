"""A fleet of 10,000 workers and 1,000,000 trials against one PostgreSQL, in virtual time from measured costs.

python benchmarks/fleet.py --simulate [--quick] [--out fleet.json]

What a call costs is measured on a server of our own (`server_costs.py`, `server_variants.py`). The model
(`virtual_server.py`, `virtual_fleet.py`) is held against 100, 300 and 1,000 workers that are measured, and then says
where one server is full. `docs/explanations/scale.md` states the model in words.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from threading import Event, Thread
from typing import Any

import fleet
import server_costs
from crew import Crew, Tally, together
from server_costs import ENVIRONMENT, Cost, Costs, Meter, Sizes
from virtual_fleet import Client, World, flushes, run
from virtual_server import Away, serve

from cifarsweep.errors import StoreError
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store
from cifarsweep.store.digests import RowsDigest
from cifarsweep.store.records import ClaimRequest, Lease


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    sizes: Sizes = Sizes()
    processes: int = 4
    #: workers that are measured and simulated, seconds between their beats, and beats of each
    points: tuple[tuple[int, float, int], ...] = ((100, 0.0, 40), (300, 0.0, 16), (1000, 0.0, 8), (1000, 4.0, 6))
    workers: int = 10_000
    trials: int = 1_000_000
    trial_s: float = 60.0
    lengths: tuple[float, ...] = (10, 60, 600, 3600)


QUICK = Plan(server_costs.SMALL, 2, ((12, 0.0, 8), (12, 0.1, 6)), 50, 300, 60, (20, 60))


# The model beside what it is a model of.


def beating(
    url: str, study: str, names: Sequence[str], beat_s: float, beats: int, postmaster: int | None, tally: Tally
) -> None:
    """Workers that share a process; every fourth beat ends a trial and claims the next, as a worker does."""
    leases: dict[str, Lease] = {}
    with Store.open(url) as store:
        for name in names:
            found = store.queue.claim(name, studies=[study], environment=ENVIRONMENT, identify=fleet.identify)
            assert found is not None
            leases[name] = found
        with together(tally):
            server = server_costs.tree_ms(postmaster) if postmaster else 0.0
            spent = time.process_time()
            beat_all(store, leases, study, beat_s, beats, tally)
            tally.cpu_ms = 1e3 * (time.process_time() - spent)
            tally.server_ms = server_costs.tree_ms(postmaster) - server if postmaster else 0.0


def due_times(names: int, beat_s: float, beats: int, seed: int) -> list[float]:
    """When each call of a process is due: workers spread over a beat, one round after the other."""
    rng = random.Random(seed)
    offsets = sorted(rng.random() * beat_s for _ in range(names))
    return [beat * beat_s + offset for beat in range(beats) for offset in offsets]


def beat_all(store: Store, leases: dict[str, Lease], study: str, beat_s: float, beats: int, tally: Tally) -> None:
    start, names = time.perf_counter(), list(leases)
    for place, due in enumerate(due_times(len(names), beat_s, beats, len(names))):
        time.sleep(max(0.0, start + due - time.perf_counter()))
        name, beat = names[place % len(names)], place // len(names)
        began = time.perf_counter()
        try:
            what, leases[name] = one_beat(store, leases[name], beat, name, study)
        except StoreError as error:
            tally.errors.append(str(error))
            continue
        tally.by_kind.setdefault(what, []).append(1e3 * (time.perf_counter() - began))


def one_beat(store: Store, lease: Lease, beat: int, name: str, study: str) -> tuple[str, Lease]:
    rows = [MetricRow(metric, beat + 1, 0.5) for metric in fleet.NAMES]
    if beat % fleet.BEATS_A_TRIAL < fleet.BEATS_A_TRIAL - 1:
        return "beat", store.queue.write(lease, rows)
    written = RowsDigest()
    written.add(rows)
    want = ClaimRequest(name, [study], None, ENVIRONMENT, fleet.identify)
    following = store.queue.finish(lease, rows, None, fleet.RESULT, want, {}, written)
    assert following is not None, "the study was to be large enough"
    return "chain", following


@dataclass(frozen=True)
class Point:
    """Measured or simulated. Milliseconds, by what was called; the median and the 99th percentile."""

    a_second: float
    beat: tuple[float, float]
    chain: tuple[float, float]
    server_ms: float
    """Processor time of the server for a call."""
    others: float = 0.0
    """Cores that other programs used meanwhile."""
    client_ms: float = 0.0
    waits: Mapping[str, float] | None = None
    """Where backends were in the middle of a call: shares of `runs`, and of the server's kinds of waits."""


def measured(crew: Crew, url: str, meter: Meter, plan: Plan, workers: int, beat_s: float, beats: int) -> Point:
    """So many workers on this machine, by a few processes."""
    study = f"beside-{workers}-{beat_s:g}"
    with server_costs.opened(url) as store:
        server_costs.fill(meter, store, study, workers * (2 + beats // fleet.BEATS_A_TRIAL))
    shares = [[f"w{place}" for place in range(first, workers, plan.processes)] for first in range(plan.processes)]
    before, used = all_busy_s(), time.perf_counter()
    works = [
        partial(beating, url, study, share, beat_s, beats, None if place else meter.postmaster)
        for place, share in enumerate(shares)
    ]
    with waiting(meter) as waits:
        tallies, seconds = crew.work(works)
    lasted = time.perf_counter() - used
    assert not any(tally.errors for tally in tallies), tallies[0].errors[:1]
    calls = {what: [ms for one in tallies for ms in one.by_kind[what]] for what in ("beat", "chain")}
    number = sum(map(len, calls.values()))
    ours = (sum(one.cpu_ms for one in tallies) + tallies[0].server_ms) / 1e3
    return Point(
        number / seconds,
        *((median(ms), fleet.p99(ms)) for ms in calls.values()),
        tallies[0].server_ms / number,
        max(0.0, (all_busy_s() - before) / lasted - ours / seconds),
        sum(one.cpu_ms for one in tallies) / number,
        {what: found / waits.total() for what, found in waits.items()},
    )


@contextmanager
def waiting(meter: Meter) -> Iterator[Counter[str]]:
    """Look ten times a second what the backends wait for: how many ran, or waited for a lock, the log or the client."""
    seen, over = Counter[str](), Event()
    query = (
        "SELECT coalesce(wait_event_type, 'runs') FROM pg_stat_activity WHERE application_name = 'cifarsweep' "
        "AND state <> 'idle'"
    )

    def look() -> None:
        while not over.wait(0.1):
            seen.update(what for (what,) in meter.sql(query))

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def all_busy_s() -> float:
    """Seconds that the cores of this machine were busy."""
    user, nice, system, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def simulated(costs: Costs, plan: Plan, workers: int, beat_s: float, beats: int, client_ms: float) -> Point:
    """The same in virtual time: clients and server share the cores of this machine."""
    rng, more = random.Random(7), 1 + costs.behind
    draws = {what: cycle(rng.choices(costs.calls[what].samples, k=9_973)) for what in ("beat", "chain")}
    slope = {"beat": 0.0, "chain": costs.calls["claim"].a_lease * workers}
    server_ms: list[float] = []

    def seconds(what: str) -> float:
        server_ms.append(more * (next(draws[what]) + slope[what]))
        return (server_ms[-1] + client_ms) / 1e3

    clients = []
    for first in range(plan.processes):
        share = len(range(first, workers, plan.processes))
        clients.append(Client(due_times(share, beat_s, beats, share), share, fleet.BEATS_A_TRIAL, seconds))
    record = serve(clients, os.cpu_count() or 1, flushes(costs, rng))
    waits = [(1e3 * record.quantile(what, 0.5), 1e3 * record.quantile(what, 0.99)) for what in ("beat", "chain")]
    return Point(len(server_ms) / record.ended, *waits, mean(server_ms), 0.0, client_ms)


def compare(crew: Crew, url: str, meter: Meter, costs: Costs, plan: Plan) -> Iterator[dict[str, Any]]:
    """Both, with the error of the model."""
    for workers, beat_s, beats in plan.points:
        real = measured(crew, url, meter, plan, workers, beat_s, beats)
        model = simulated(costs, plan, workers, beat_s, beats, real.client_ms)
        yield {"workers": workers, "beat_s": beat_s, "measured": real, "simulated": model}


# What follows.


def variants(
    world: World, changed: dict[str, Cost], table: dict[tuple[str, str], float]
) -> Iterator[tuple[str, World]]:
    """What might move the limit, each alone, then all that are ours to build together."""
    yield "as it is", world
    status, snapshot = (
        next(ms for (what, _), ms in reversed(table.items()) if what.startswith(begin))
        for begin in ("counting", "a dashboard")
    )
    yield "as it was: all trials counted at each look", world.with_calls(look=Cost((status,)))
    yield "beats every 30 s, leases of 180 s", replace(world, beat_s=30.0, saves_every=2)
    yield "beats of 50 leases in one statement", world.with_calls(beat=changed["beat, batched"], alive=Cost((0.0,)))
    calls = world.costs.calls
    each = calls["claim"]._replace(a_lease=calls["check"].a_lease)
    yield "as it was: every claim checks all leases", world.with_calls(claim=each, check=Cost((0.0,)))
    yield "a dashboard is open, on this server and no replica", replace(world, dashboards=1, dashboard=snapshot / 1e3)
    yield "nobody tells Optuna", world.with_calls(tell=Cost((0.0,)), told=Cost((0.0,)))
    yield "8 cores", replace(world, cores=8)
    yield "32 cores", replace(world, cores=32)


def limits(world: World, plan: Plan) -> Iterator[dict[str, Any]]:
    """Where the server is full by length of trial and time between beats: 80 % of its cores busy."""
    for trial_s in plan.lengths:
        for beat_s in (10.0, 30.0):
            if beat_s > trial_s:
                continue
            here = replace(world, trial_s=trial_s, beat_s=beat_s, saves_every=int(60 / beat_s))
            most = here.most_workers()
            parts = {
                "beats": here.beats_a_trial * here.beat_cost() / trial_s,
                "claims and ends": here.trial_cost(most) / trial_s,
            }
            check = here.costs.calls["check"].at(most) / most
            yield {
                "trial_s": trial_s,
                "beat_s": beat_s,
                "workers": most,
                "trials_a_second": most / trial_s,
                "beats": parts["beats"] / sum(parts.values()),
                "checks_of_leases": check / sum(parts.values()),
            }


def under_way(world: World, name: str, away: Away | None = None, until: float = float("inf")) -> dict[str, Any]:
    """One run in virtual time, summed up."""
    start = time.process_time()
    queue, record = run(world, until=until, away=away)
    waits = {what: [1e3 * record.quantile(what, share) for share in (0.5, 0.99)] for what in record.waits}
    return {
        "what": name,
        "workers": world.workers,
        "trials": world.trials,
        "cores": world.cores,
        "done": queue.done,
        "hours": record.ended / 3600,
        "trials_a_second": queue.done / record.ended,
        "busy": record.busy / record.ended / world.cores,
        "calls": {what: len(found) for what, found in record.waits.items()},
        "ms": waits,
        "latest_beat_s": queue.latest_beat,
        "leases_lost": queue.lost,
        "refused": record.refused,
        "told": queue.told,
        "took_s": time.process_time() - start,
    }


def runs(world: World, plan: Plan) -> Iterator[dict[str, Any]]:
    """The whole fleet, the end of a study, and a server that was away."""
    whole = replace(world, workers=plan.workers, trials=plan.trials, trial_s=plan.trial_s)
    enough = max(2, round(whole.load(plan.workers) / 0.7 + 0.5))
    yield under_way(replace(whole, cores=enough), "the whole fleet, cores enough")
    short = replace(whole, trials=3 * plan.workers)
    yield under_way(replace(short, cores=2), "the same on 2 cores")
    few = replace(whole, trials=plan.workers * 6 // 5, cores=enough)
    yield under_way(few, "the end of a study: pauses between polls grow")
    yield under_way(replace(few, longest_poll_s=1.0), "the same as it was: idle workers poll every second")
    rng = random.Random(3)
    start = 2 * plan.trial_s
    away = Away(start, start + 30.0, world.costs.connect / 1e3, lambda: rng.uniform(0.5, 1.5))
    yield under_way(replace(short, cores=enough), "the server is away for 30 s", away)
    longer = replace(short, cores=enough, beat_s=30.0, saves_every=2, lease_s=180.0)
    yield under_way(longer, "the same, beats every 30 s and leases of 180 s", replace(away, longest_pause=30.0))


def cells(*values: object) -> str:
    return "| " + " | ".join(f"{value:,.2f}" if isinstance(value, float) else str(value) for value in values) + " |"


def head(*names: str) -> str:
    return f"\n{cells(*names)}\n{'|---' * len(names)}|"


def simulate(out: Path, *, quick: bool) -> None:
    """Measure, compare, simulate; print Markdown as it comes and write all of it as JSON."""
    plan = QUICK if quick else Plan()
    with tempfile.TemporaryDirectory() as name, closing(Crew(plan.processes)) as crew:
        folder = Path(name) / "server"
        with fleet.server(folder) as new:
            print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
            costs, changed, compared = on_a_server(crew, folder, new("costs"), plan)
    conclude(out, costs, changed, compared, plan)


def on_a_server(crew: Crew, folder: Path, url: str, plan: Plan) -> tuple[Costs, dict[str, Cost], list[dict[str, Any]]]:
    """What is measured: costs, those of variants, and points to compare the model with."""
    with closing(Meter(folder, url)) as meter, server_costs.opened(url) as store:
        costs, changed = server_costs.measure(meter, store, url, plan.sizes)
        print(head("call", "where", "server, ms"))
        for row in costs.table:
            print(cells(*row), flush=True)
        names = "calls/s", "beat p50", "beat p99", "end and claim p50", "p99", "server ms a call", "others' cores"
        print(head("workers", "beat", "", *names))
        compared = []
        for one in compare(crew, url, meter, costs, plan):
            compared.append(one)
            for what in ("measured", "simulated"):
                point = one[what]
                values = point.a_second, *point.beat, *point.chain, point.server_ms, point.others
                print(cells(f"{one['workers']:,}", f"{one['beat_s']:g} s", what, *values), flush=True)
        print("\nwhat backends did amid a call:", *(f"{one['measured'].waits}" for one in compared), sep="\n- ")
    return costs, changed, compared


def conclude(out: Path, costs: Costs, changed: dict[str, Cost], compared: list[dict[str, Any]], plan: Plan) -> None:
    """All that follows from costs alone."""
    table = {(what, where): ms for what, where, ms in costs.table}
    world = World(costs, workers=plan.workers, trials=plan.trials, trial_s=plan.trial_s)
    full = list(limits(world, plan))
    print(head("trials of", "beat every", "workers", "trials/s", "beats, share", "checks of leases, share"))
    for row in full:
        print(cells(f"{row['trial_s']:g} s", f"{row['beat_s']:g} s", row["workers"], *list(row.values())[3:]))
    print(head("variant", "2 cores: workers", "trials/s", f"cores for {plan.workers:,} workers"))
    moved = []
    for name, other in variants(replace(world, trial_s=600.0), changed, table):
        most = other.most_workers()
        moved.append({"variant": name, "workers": most, "cores": other.load(plan.workers) / 0.8})
        print(cells(name, most, most / other.trial_s, moved[-1]["cores"]), flush=True)
    print(head("run", "cores", "trials", "trials/s", "busy", "beat p50, p99 ms", "latest beat, s", "leases lost"))
    went = []
    for row in runs(world, plan):
        went.append(row)
        beat = ", ".join(f"{ms:.1f}" for ms in row["ms"]["beat"])
        last = row["latest_beat_s"], row["leases_lost"]
        print(
            cells(row["what"], row["cores"], row["done"], row["trials_a_second"], row["busy"], beat, *last), flush=True
        )
    found = {"costs": costs, "variants_measured": changed, "compared": compared, "limits": full}
    out.write_text(json.dumps({**found, "variants": moved, "runs": went}, indent=1, default=vars))
