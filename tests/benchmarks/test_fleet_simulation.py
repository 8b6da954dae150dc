"""`benchmarks/fleet.py --simulate`: a server in virtual time does what is known of queues, and no trial gets lost."""

import importlib
import json
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
COSTS = {
    "claim": 2.0,
    "check": 0.5,
    "finish": 1.0,
    "beat": 0.7,
    "save": 1.2,
    "look": 0.3,
    "alive": 0.2,
    "tell": 0.3,
    "poll": 1.5,
    "told": 4.0,
}


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        yield importlib.import_module("virtual_server")


@pytest.fixture(scope="module")
def fleet(server: ModuleType):
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        yield importlib.import_module("virtual_fleet")


@pytest.fixture
def world(fleet: ModuleType):
    """300 workers on one core, with costs that don't vary."""
    calls = {
        what: fleet.Cost((ms,), 0.001 if what in ("claim", "check", "poll") else 0.0) for what, ms in COSTS.items()
    }
    costs = fleet.Costs(calls, (0.2,), connect=10.0, connection_mb=2.0, tell_client_ms=20.0, behind=0.1)
    return fleet.World(costs, workers=300, trials=2_000, trial_s=60.0, cores=1)


class Once:
    """Calls once."""

    def __init__(self, call):
        self.call = call

    def following(self, now):
        call, self.call = self.call, None
        return call


def never() -> float:
    raise AssertionError("nothing was written")


def mean_wait(server: ModuleType, cores: int, busy: float, service) -> float:
    """Seconds before a core is free, where calls come at random and take one second on average."""
    rng, now, calls = random.Random(5), 0.0, []
    for _ in range(40_000):
        now += rng.expovariate(busy * cores)
        calls.append(Once(server.Call(now, "x", service(rng), writes=False)))
    waits = server.serve(calls, cores, never, slice_s=math.inf).waits["x"]
    return sum(waits) / len(waits) - 1


def test_one_core_is_an_m_m_1_queue(server: ModuleType):
    # rho / (1 - rho), e.g. Kleinrock, Queueing Systems, volume 1, 3.2
    assert mean_wait(server, 1, 0.6, lambda rng: rng.expovariate(1)) == pytest.approx(0.6 / 0.4, rel=0.1)


def test_calls_of_one_length_wait_half_as_long(server: ModuleType):
    # M/D/1, by Pollaczek and Khinchine
    assert mean_wait(server, 1, 0.6, lambda rng: 1.0) == pytest.approx(0.6 / 0.4 / 2, rel=0.1)


def test_several_cores_are_an_m_m_c_queue(server: ModuleType):
    # Erlang's C: of 4 cores, 2.4 of them busy
    cores, offered = 4, 2.4
    last = offered**cores / math.factorial(cores) * cores / (cores - offered)
    queued = last / (sum(offered**k / math.factorial(k) for k in range(cores)) + last)

    wait = mean_wait(server, cores, offered / cores, lambda rng: rng.expovariate(1))

    assert wait == pytest.approx(queued / (cores - offered), rel=0.1)


def test_a_long_call_lets_short_ones_pass(server: ModuleType):
    long, short = Once(server.Call(0.0, "long", 1.0, False)), Once(server.Call(0.1, "short", 0.001, False))

    record = server.serve([long, short], 1, never, slice_s=0.003)

    assert record.waits["short"][0] < 0.005
    assert record.waits["long"][0] == pytest.approx(1.001)


def test_commits_during_a_flush_share_the_next_one(server: ModuleType):
    calls = [Once(server.Call(at, str(at), 0.0)) for at in (0.0, 0.2, 0.9, 1.5)]

    waits = server.serve(calls, 4, lambda: 1.0).waits

    assert [waits[str(at)][0] for at in (0.0, 0.2, 0.9, 1.5)] == pytest.approx([1 - 0.0, 2 - 0.2, 2 - 0.9, 3 - 1.5])


def test_every_trial_is_done_once_and_a_seed_says_all(fleet: ModuleType, world):
    runs = [fleet.run(world) for _ in range(2)]

    for queue, record in runs:
        assert (queue.left, queue.leased, queue.done, queue.lost) == (0, 0, 2_000, 0)
        assert len(record.waits["claim"]) == len(record.waits["finish"]) == 2_000
    assert runs[0][1].ended == runs[1][1].ended
    assert Counter(runs[0][1].waits["beat"]) == Counter(runs[1][1].waits["beat"])


def test_a_busy_server_is_as_busy_as_the_sum_of_its_calls(fleet: ModuleType, world):
    short = fleet.replace(world, trials=10_000)

    queue, record = fleet.run(short, until=900.0)
    _, before = fleet.run(short, until=300.0)

    assert queue.left > 0
    assert (record.busy - before.busy) / 600 == pytest.approx(world.load(300), rel=0.03)


def test_whoever_asks_again_and_again_takes_a_share_of_the_server(fleet: ModuleType, world):
    watched = fleet.replace(world, dashboards=1, dashboard=0.5, trials=600)

    queue, record = fleet.run(watched, until=100.0)

    assert watched.load(0) - world.load(0) == pytest.approx(0.5 / 2.5)
    assert len(record.waits["dashboard"]) in (38, 39)  # each has to let short calls pass
    assert queue.leased > 0


def test_a_server_that_is_away_loses_no_trial(fleet: ModuleType, server: ModuleType, world):
    rng = random.Random(1)
    away = server.Away(100.0, 130.0, 0.01, lambda: rng.uniform(0.5, 1.5))

    queue, record = fleet.run(world, away=away)

    assert queue.done == 2_000
    assert record.refused > 300
    assert queue.lost == 0 < 30 < queue.latest_beat


def test_longer_beats_and_more_cores_carry_more_workers(fleet: ModuleType, world):
    most = world.most_workers()

    assert world.load(most) == pytest.approx(0.8, rel=0.01)
    assert fleet.replace(world, beat_s=30.0, saves_every=2).most_workers() > most
    assert fleet.replace(world, cores=4).most_workers() > 2 * most


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_of_it_in_small(tmp_path: Path):
    command = [sys.executable, str(FOLDER / "fleet.py"), "--simulate", "--quick", "--out", str(tmp_path / "all.json")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "all.json").read_text())
    assert {one["workers"] for one in found["compared"]} == {12}
    assert all(run["done"] == run["trials"] and not run["leases_lost"] for run in found["runs"])
    assert {"claim", "beat", "finish", "poll", "tell"} <= found["costs"]["calls"].keys()
