"""Workers as actors of Ray, which places them, starts them again elsewhere, and asks for machines for those that wait.

An actor (`ray_actor`) keeps a launcher on its node. It is not detached: Ray ends it when this process ends, and then
its workers give their trials back.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cifarsweep.errors import SpecError, StoreUnavailable
from cifarsweep.text import one_line
from cifarsweep.worker.launch.group import Group
from cifarsweep.worker.launch.local import Backoff
from cifarsweep.worker.launch.ray_actor import News, Order, RayWorker
from cifarsweep.worker.launch.ray_queue import FollowedQueue

#: An actor answers every 10 s. One that does not has no node yet, or has lost it. Seconds.
_LONGEST_ANSWER_S = 30.0
#: How long workers may take to end. Launchers wait for theirs for 45 s. Seconds.
_GRACE_S = 75.0
_TICK_S = 0.2
#: Codes from here on are of signals. Lower ones are final but for that of an absent database: a launcher has done then
#: what helps: nothing is left to do, its input is refused, its machine is bad, or its workers crash.
_FIRST_SIGNAL_CODE = 129
_STOPPED, _KILLED = 143, 137


@dataclass(frozen=True, slots=True)
class Place:
    """What an actor takes of a node; `memory` in bytes, which Ray counts and does not enforce."""

    gpus: int
    cpus: int
    memory: int | None = None

    def options(self) -> dict[str, Any]:
        """Return them as Ray names them. It starts the actor again wherever it dies, as often as that happens."""
        memory = {} if self.memory is None else {"memory": self.memory}
        again = {"max_restarts": -1, "max_task_retries": -1}
        # `stop` is to be heard beside `listen`.
        return {"num_gpus": self.gpus, "num_cpus": self.cpus, "max_concurrency": 4, **memory, **again}

    def fits(self, node: Mapping[str, float]) -> bool:
        """Whether a node with these resources, as Ray names them, has all that an actor takes."""
        needs = {"GPU": self.gpus, "CPU": self.cpus, "memory": self.memory or 0}
        return all(node.get(name, 0) >= amount for name, amount in needs.items())

    def __str__(self) -> str:
        memory = [] if self.memory is None else [f"{self.memory / 2**30:.3g} GiB of memory"]
        counts = [f"{n} {name}{'s' * (n > 1)}" for n, name in ((self.gpus, "GPU"), (self.cpus, "CPU")) if n]
        return " and ".join([*counts, *memory])


class _Actor:
    """One worker. `listening` is the answer that is due, None while it is not asked."""

    def __init__(self, ray: Any, name: str, place: Place, order: Order) -> None:
        self.name = name
        #: The node that it is on, empty until it has answered.
        self.host = ""
        self.crashes = 0
        self.start_at = math.inf
        self.told_that_it_waits = False
        self._ray, self._order = ray, order
        self._handle = ray.remote(RayWorker).options(**place.options()).remote()
        self.listen()

    def listen(self) -> None:
        self.start_at, self.asked_at = math.inf, time.monotonic()
        self.listening: Any = self._handle.listen.remote(self._order)

    def pause(self, seconds: float) -> None:
        """Ask it again later, which starts its launcher again."""
        self.listening, self.start_at = None, time.monotonic() + seconds

    @property
    def silent_s(self) -> float:
        """How long it has not answered."""
        return 0.0 if self.listening is None else time.monotonic() - self.asked_at

    @property
    def is_placed(self) -> bool:
        """Whether it is on a node, as far as anybody knows: it answers in time."""
        return bool(self.host) and self.silent_s < _LONGEST_ANSWER_S

    def ask_to_stop(self) -> None:
        self._handle.stop.remote()

    def end(self) -> None:
        """Let Ray end it for good, placed or not."""
        self.listening, self.start_at = None, math.inf
        with contextlib.suppress(Exception):  # whatever it is, it has ended
            self._ray.kill(self._handle)


class RayGroup(Group):
    """Workers on a cluster. `emit` gets a worker's name and a line of it, or about it.

    `workers` is their number, or a queue that says it. With `wait` they go on where nothing is left to do.
    """

    def __init__(
        self,
        ray: Any,
        place: Place,
        order: Order,
        workers: int | FollowedQueue,
        emit: Callable[[str, str], None],
        *,
        wait: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__()
        self._ray, self._place, self._order = ray, place, order
        self._queue = workers if isinstance(workers, FollowedQueue) else None
        self._wanted = workers if isinstance(workers, int) else 0
        self._emit, self._wait, self._backoff = emit, wait, backoff or Backoff()
        self._actors: list[_Actor] = []
        self._asked = self._worst = 0
        self._has_begun = False

    def _let_go(self) -> None:
        for actor in self._actors:
            actor.end()

    def _codes(self) -> Iterable[int]:
        return (self._worst,)

    def _run(self) -> None:
        give_up = math.inf
        while time.monotonic() < give_up:
            for _ in self._signals.heard[self._asked :]:
                self._asked += 1
                give_up = min(give_up, time.monotonic() + _GRACE_S)
                self._stop()
            if not self._asked:
                self._follow()
            if not self._actors and (self._asked or not (self._wait and self._queue)):
                return
            for actor in self._actors:
                if time.monotonic() >= actor.start_at:
                    actor.listen()
            self._hear()
        for actor in list(self._actors):
            self._remove(actor, _KILLED, f"does not end for {_GRACE_S:.0f} s: Ray ends it")

    def _follow(self) -> None:
        """Add workers that are wanted, and drop those that are not and have no node: nothing is to come for them."""
        if self._queue is not None:
            self._wanted = self._queue.wanted(len(self._actors))
        elif self._has_begun:
            self._wanted = min(self._wanted, len(self._actors))
        if (missing := self._wanted - len(self._actors)) > 0:
            self._add(missing)
        for actor in [actor for actor in self._actors if not actor.is_placed][: len(self._actors) - self._wanted]:
            self._remove(actor, 0, "has no node, and nothing is left to do")

    def _add(self, number: int) -> None:
        added = []
        for _ in range(number):
            taken = {actor.name for actor in self._actors}
            name = next(name for number in itertools.count() if (name := f"worker{number}") not in taken)
            added.append(_Actor(self._ray, name, self._place, self._order))
            self._actors.append(added[-1])
            self._has_begun = True
        if why := self._why_none_fits():
            for actor in added:
                self._wait_for_node(actor, why)

    def _why_none_fits(self) -> str:
        """Why the cluster has no node for a worker now, and what to do; empty where it has one, free or not."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(self._place.fits(node) for node in nodes):
            return ""
        if self._place.gpus and not any(node.get("GPU") for node in nodes):
            return (
                "no node of the cluster has a GPU. Unless it brings up one that has, start with --gpus-per-worker 0, "
                "which trains on processors"
            )
        return "no node of the cluster has as much. Unless it brings up one that has, ask for less for each worker"

    def _wait_for_node(self, actor: _Actor, why: str) -> None:
        actor.told_that_it_waits = True
        lost = f"does not answer any more on {actor.host}, " if actor.host else ""
        self._say(actor, f"{lost}waits for a node with {self._place}{'; ' * bool(why)}{why}")

    def _stop(self) -> None:
        for actor in list(self._actors):
            if not actor.is_placed:
                self._remove(actor, _STOPPED, "ended without a node")
            elif actor.listening is None:
                self._remove(actor, _STOPPED, "ended before it started again")
            else:
                actor.ask_to_stop()

    def _hear(self) -> None:
        listening = {actor.listening: actor for actor in self._actors if actor.listening is not None}
        if not listening:
            time.sleep(_TICK_S)
            return
        ready, _ = self._ray.wait(list(listening), num_returns=len(listening), timeout=_TICK_S)
        for each in ready:
            self._answer(listening[each], each)
        silent = [each for each in self._actors if not each.told_that_it_waits and each.silent_s > _LONGEST_ANSWER_S]
        if silent:
            why = self._why_none_fits()
            for actor in silent:
                self._wait_for_node(actor, why)

    def _answer(self, actor: _Actor, answer: Any) -> None:
        errors = self._ray.exceptions
        try:
            news: News = self._ray.get(answer)
        except errors.ActorUnavailableError:
            actor.pause(self._backoff.first_s)
        except errors.ActorDiedError as error:
            unfit = getattr(error, "actor_init_failed", False)
            how, code = ("can't start", SpecError.exit_code) if unfit else ("is ended by Ray", _KILLED)
            self._on_end(actor, code, f"{how}: {_reason(error)}")
        except errors.RayError as error:
            self._on_end(actor, SpecError.exit_code, f"can't start: {_reason(error)}")
        else:
            self._tell(actor, news)

    def _tell(self, actor: _Actor, news: News) -> None:
        if actor.host != news.host or actor.told_that_it_waits:
            self._say(actor, f"runs on {news.host}")
            actor.host, actor.told_that_it_waits = news.host, False
        for line in news.lines:
            self._say(actor, line)
        if news.code is None:
            actor.listen()
            return
        actor.crashes += 1
        away = news.code == StoreUnavailable.exit_code
        by_signal = news.code >= _FIRST_SIGNAL_CODE
        if self._asked or not (away or (by_signal and actor.crashes < self._backoff.max_crashes)):
            # The launcher has said the rest, in words that stay the newest ones.
            self._on_end(actor, news.code, f"ended, exit code {news.code}" if by_signal else "")
            return
        pause_s = self._backoff.pause_s(actor.crashes)
        self._say(actor, f"ended, exit code {news.code}: starts again in {pause_s:.0f} s")
        actor.pause(pause_s)

    def _on_end(self, actor: _Actor, code: int, why: str) -> None:
        """Let an actor go that has ended for good."""
        self._remove(actor, code, why)
        if self._queue is not None:
            self._queue.on_end(code)
        elif code == 0 and not self._wait:
            # No worker would find anything to do any more.
            self._wanted = 0

    def _remove(self, actor: _Actor, code: int, why: str) -> None:
        if why:
            self._say(actor, why)
        actor.end()
        self._actors.remove(actor)
        self._worst = max(self._worst, code)

    def _say(self, actor: _Actor, line: str) -> None:
        # A full screen or a reader that went away must not end the workers.
        with contextlib.suppress(OSError):
            self._emit(actor.name, line)


def _reason(error: BaseException) -> str:
    """The line that says why: Ray puts what was to run, and where, before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else type(error).__name__
