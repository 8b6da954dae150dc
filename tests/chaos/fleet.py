"""Workers as processes: started, killed, frozen, waited for. Their logs stay in the campaign's folder."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import victim
from oracle import Broken
from places import Place
from sabotage import Sabotage
from support.forks import forks

#: How long anything may take before the harness gives up. Generous, because machines are busy.
PATIENCE_S = 240.0


class Worker:
    """One process that runs `cifarsweep worker`, and the child that it started."""

    def __init__(self, order: victim.Order) -> None:
        self.order = order
        self.log = Path(order.log)
        self.born = time.monotonic()
        self._children: list[psutil.Process] = []
        self.process: Any = forks().Process(target=victim.obey, args=(order,))
        self.process.start()

    @property
    def alive(self) -> bool:
        return bool(self.process.is_alive())

    @property
    def began(self) -> bool:
        """Whether it has begun to train a trial."""
        return self.log.exists() and re.search(r": (begins|from step )", self.log.read_text()) is not None

    @property
    def exit_code(self) -> int | None:
        code: int | None = self.process.exitcode
        return code

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            self._children = psutil.Process(self.process.pid).children(recursive=True)
        return self._children

    def send(self, number: int, who: str = "both") -> int:
        """Signal the `worker`, its `child`, or `both`; how many of them got it."""
        targets = [child.pid for child in self.children()] if who != "worker" else []
        targets += [self.process.pid] if who != "child" else []
        got = 0
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                got += 1
        return got

    def stopped(self) -> bool:
        """Whether it stands still, by SIGSTOP."""
        with contextlib.suppress(psutil.Error):
            return bool(psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)
        return False

    def child_stopped(self) -> bool:
        """Whether its child stands still."""
        with contextlib.suppress(psutil.Error):
            return any(child.status() == psutil.STATUS_STOPPED for child in self.children())
        return False

    def end(self) -> None:
        """Kill whatever is left, frozen children too."""
        self.send(signal.SIGKILL)
        self.process.join(30)


class Fleet:
    """All workers of one campaign. Leaving the block ends those that are left."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for worker in self.workers:
            worker.end()

    def start(self, *arguments: str, url: str = "", env: dict[str, str] | None = None, **order: Any) -> Worker:
        """Start `cifarsweep worker` on the campaign's database."""
        return self.command("worker", "--cpu", "--db", url or self.place.url, *arguments, env=env, **order)

    def command(self, *arguments: str, env: dict[str, str] | None = None, **order: Any) -> Worker:
        """Start any command of cifarsweep."""
        log = str(self.place.folder / f"worker-{next(self.place.names)}.log")
        worker = Worker(victim.Order(arguments, log, self.place.env(**(env or {})), **order))
        self.workers.append(worker)
        return worker

    def sabotage(self, point: str, act: str = "kill", nth: int = 1) -> Sabotage:
        marker = self.place.folder / f"marker-{next(self.place.names)}"
        return Sabotage(point, str(marker), act, nth)

    def finish(
        self,
        allowed: tuple[int, ...] = (0,),
        *,
        forgive_starts: bool = False,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Wait until every worker has ended; raise Broken where one ended otherwise than by the codes or SIGKILL.

        `forgive_starts`: one that never got to a trial may have ended as it liked.
        """

        def ended() -> bool:
            meanwhile()
            self.check(allowed, forgive_starts=forgive_starts)
            return not any(worker.alive for worker in self.workers)

        wait_for(ended, self, "workers that end")

    def check(self, allowed: tuple[int, ...] = (0,), *, forgive_starts: bool = False) -> None:
        """Raise Broken where a worker ended otherwise than by the codes or SIGKILL."""
        fine = (None, *allowed, -signal.SIGKILL)
        wrong = [worker for worker in self.workers if worker.exit_code not in fine]
        wrong = [worker for worker in wrong if worker.began or not forgive_starts]
        if wrong:
            tails = "\n".join(f"{w.log} ({w.exit_code}): {w.log.read_text()[-1500:]}" for w in wrong[:3])
            raise Broken(f"seed {self.place.seed}: {len(wrong)} workers ended on their own: {tails}")

    def lines(self, pattern: str) -> list[re.Match[str]]:
        """Every match of the pattern in any log."""
        return [match for worker in self.workers for match in re.finditer(pattern, worker.log.read_text())]

    def leases_lost(self) -> int:
        """How often a worker learnt that it may not write any more."""
        return len(self.lines(r"the lease of attempt \d+ is gone"))


def wait_for(happened: Callable[[], object], fleet: Fleet, what: str, tick_s: float = 0.03) -> None:
    """Wait until it happened. Raises Broken, which says where the logs are."""
    for _ in ticks(tick_s):
        if happened():
            return
    logs = "\n".join(f"{worker.log}: {worker.log.read_text()[-600:]}" for worker in fleet.workers if worker.alive)
    raise Broken(f"seed {fleet.place.seed}: waited {PATIENCE_S:.0f} s in vain for {what}; logs: {logs}")


def ticks(every_s: float) -> Iterator[float]:
    """The seconds since the beginning, now and then, until patience ends."""
    began = time.monotonic()
    while (spent := time.monotonic() - began) < PATIENCE_S:
        yield spent
        time.sleep(every_s)
