"""Workers, dashboards and clients of a benchmark, as callers of a server in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle

from server_costs import Cost, Costs
from virtual_server import Away, Call, Caller, Record, serve

from cifarsweep.worker.polling import GROWTH, JITTER, LONGEST_PAUSE_S, POLL_EVERY_S

#: An open dashboard asks two seconds after the last answer.
DASHBOARD_S = 2.0
#: Trials last between half and one and a half times their mean.
SPREAD = 0.5
_DRAWS = 9_973


@dataclass(frozen=True)
class World:
    """A fleet and its server. Seconds."""

    costs: Costs
    workers: int = 10_000
    trials: int = 1_000_000
    trial_s: float = 600.0
    beat_s: float = 10.0
    lease_s: float = 60.0
    """A worker that is not heard of for so long may lose its trial."""
    saves_every: int = 6
    """Beats; such a one has a checkpoint."""
    cores: int = 2
    dashboards: int = 0
    dashboard: float = 0.0
    """Seconds of a core for each of their looks."""
    longest_poll_s: float = LONGEST_PAUSE_S
    """Pauses between polls of an idle worker grow up to this, as `PollPauses` makes them for all but one."""
    seed: int = 17

    def with_calls(self, **calls: Cost) -> World:
        """The same with other costs."""
        return replace(self, costs=replace(self.costs, calls={**self.costs.calls, **calls}))

    def beat_cost(self, leases: float = 0.0) -> float:
        """Milliseconds of one beat on average, its checkpoints, the worker's own row and Optuna's question included."""
        calls, saves = self.costs.calls, 1 / self.saves_every
        beat = (1 - saves) * calls["beat"].at(leases) + saves * calls["save"].at(leases)
        return beat + calls["alive"].at(leases) + calls["tell"].at(leases)

    @property
    def beats_a_trial(self) -> float:
        """On average: the end of a trial, which writes as well, comes half a beat after the last one."""
        return max(0.0, self.trial_s / self.beat_s - 0.5)

    def trial_cost(self, leases: float) -> float:
        """Milliseconds of a trial beside its beats: its end, a look at the studies, and the next claim."""
        calls = self.costs.calls
        return calls["finish"].at(leases) + calls["look"].at(leases) + calls["claim"].at(leases)

    @property
    def most_told(self) -> float:
        """Trials a second that Optuna can be told: one at a time, with what the one that tells them computes."""
        return 1e3 / (self.costs.tell_client_ms + self.costs.calls["told"].at(0))

    def load(self, workers: float) -> float:
        """Cores that are busy on average while so many workers train."""
        each = (self.trial_cost(workers) + self.beats_a_trial * self.beat_cost(workers)) / self.trial_s
        check = self.costs.calls["check"].at(workers)
        told = min(workers / self.trial_s, self.most_told) * self.costs.calls["told"].at(0)
        watched = self.dashboards * self.dashboard / (DASHBOARD_S + self.dashboard)
        return (1 + self.costs.behind) * (workers * each + check + told) / 1e3 + watched

    def most_workers(self, share: float = 0.8) -> int:
        """So many that the given share of the cores is busy."""
        low, high = 0.0, 1e7
        while high - low > 0.5:
            middle = (low + high) / 2
            low, high = (middle, high) if self.load(middle) < share * self.cores else (low, middle)
        return int(low)


class Drawn:
    """Seconds of calls, drawn from what was measured."""

    def __init__(self, world: World, rng: random.Random) -> None:
        more = (1 + world.costs.behind) / 1e3
        self.slopes = {what: cost.a_lease * more for what, cost in world.costs.calls.items()}
        self._draws = {
            what: cycle([value * more for value in rng.choices(cost.samples, k=_DRAWS)])
            for what, cost in world.costs.calls.items()
        }

    def __call__(self, what: str, leases: int = 0) -> float:
        return next(self._draws[what]) + self.slopes[what] * leases


@dataclass
class Queue:
    """What all workers share, with counts that must come out even."""

    left: int
    leased: int = 0
    done: int = 0
    told: int = 0
    lost: int = 0
    """Leases that ran out, since a beat was answered too late: another worker may have taken the trial."""
    latest_beat: float = 0.0


class Worker:
    """Claims a trial, beats while it trains, ends it, claims the next."""

    __slots__ = ("_beats", "_ends", "_heard", "_pause", "_rng", "_state", "_costs", "_queue", "_world", "_begins")

    def __init__(self, world: World, queue: Queue, costs: Drawn, rng: random.Random, begins: float) -> None:
        self._world, self._queue, self._costs, self._rng, self._begins = world, queue, costs, rng, begins
        self._state, self._beats, self._ends, self._heard, self._pause = "new", 0, 0.0, 0.0, POLL_EVERY_S

    def following(self, now: float) -> Call | None:
        """See `Caller`."""
        queue, costs, world = self._queue, self._costs, self._world
        if self._state == "new":
            self._state = "claim"
            return self._claim(self._begins)
        if self._state == "claim":
            return self._claimed(now)
        if self._state == "finish":
            queue.leased -= 1
            queue.done += 1
            self._state = "claim"
            return self._claim(now)
        if now - self._heard > world.lease_s:
            queue.lost += 1
        queue.latest_beat = max(queue.latest_beat, now - self._heard)
        self._heard = now
        return self._train(now, costs, world)

    def _claim(self, at: float) -> Call:
        costs, queue = self._costs, self._queue
        if queue.left:
            return Call(at, "claim", costs("look") + costs("claim", queue.leased))
        return Call(at, "poll", costs("poll", queue.leased), writes=False)

    def _claimed(self, now: float) -> Call | None:
        queue, world = self._queue, self._world
        if queue.left:
            queue.left -= 1
            queue.leased += 1
            self._state, self._heard, self._beats, self._pause = "beat", now, 0, POLL_EVERY_S
            self._ends = now + world.trial_s * self._rng.uniform(1 - SPREAD, 1 + SPREAD)
            return self._train(now, self._costs, world)
        if not queue.leased:
            return None
        self._pause = min(GROWTH * self._pause, world.longest_poll_s)
        return self._claim(now + self._pause * self._rng.uniform(*JITTER))

    def _train(self, now: float, costs: Drawn, world: World) -> Call:
        due = now + world.beat_s
        if due >= self._ends:
            self._state = "finish"
            return Call(max(now, self._ends), "finish", costs("finish"))
        self._beats += 1
        what = "beat" if self._beats % world.saves_every else "save"
        return Call(due, "beat", costs(what) + costs("alive") + costs("tell"))


class Regular:
    """Asks the same, so long after each answer, while trials are left: a dashboard, or who checks all leases."""

    def __init__(self, queue: Queue, what: str, pause_s: float, seconds: Callable[[], float]) -> None:
        self._queue, self._what, self._pause_s, self._seconds = queue, what, pause_s, seconds

    def following(self, now: float) -> Call | None:
        """See `Caller`."""
        if not (self._queue.left or self._queue.leased):
            return None
        return Call(now + self._pause_s, self._what, self._seconds(), writes=False)


class Teller:
    """Tells Optuna of one trial after the other that is done."""

    def __init__(self, world: World, queue: Queue, costs: Drawn) -> None:
        self._queue, self._costs, self._computes_s = queue, costs, world.costs.tell_client_ms / 1e3

    def following(self, now: float) -> Call | None:
        """See `Caller`."""
        queue = self._queue
        if not (queue.left or queue.leased):
            return None
        if queue.told == queue.done:
            return Call(now + 1.0, "nothing to tell", 0.0, writes=False)
        queue.told += 1
        return Call(now + self._computes_s, "told", self._costs("told"))


def run(world: World, *, until: float = float("inf"), away: Away | None = None) -> tuple[Queue, Record]:
    """Let the fleet work until every trial is done, or until a moment. Workers begin over one trial's length."""
    rng = random.Random(world.seed)
    costs, queue = Drawn(world, rng), Queue(world.trials)
    callers: list[Caller] = [
        Worker(world, queue, costs, rng, rng.uniform(0, world.trial_s)) for _ in range(world.workers)
    ]
    callers.append(Teller(world, queue, costs))
    callers += [Regular(queue, "dashboard", DASHBOARD_S, lambda: world.dashboard) for _ in range(world.dashboards)]
    callers.append(Regular(queue, "check", 1.0, lambda: costs("check", queue.leased)))
    record = serve(callers, world.cores, flushes(world.costs, rng), until=until, away=away)
    assert queue.left + queue.leased + queue.done == world.trials, queue
    return queue, record


def flushes(costs: Costs, rng: random.Random) -> Callable[[], float]:
    """Seconds of one flush after another, as measured."""
    drawn: Iterator[float] = cycle([value / 1e3 for value in rng.choices(costs.fsync, k=_DRAWS)])
    return lambda: next(drawn)


class Client:
    """A process of the benchmark that beats for many workers, one call after the other, at their times."""

    def __init__(self, due: list[float], workers: int, chains_every: int, seconds: Callable[[str], float]) -> None:
        self._due, self._workers, self._chains_every, self._seconds = due, workers, chains_every, seconds
        self._place = 0

    def following(self, now: float) -> Call | None:
        """See `Caller`."""
        if self._place == len(self._due):
            return None
        at, beat = self._due[self._place], self._place // self._workers
        self._place += 1
        what = "chain" if beat % self._chains_every == self._chains_every - 1 else "beat"
        return Call(max(now, at), what, self._seconds(what))
