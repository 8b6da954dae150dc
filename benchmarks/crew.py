"""Processes that do something at the same moment, and what they saw."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

#: Of this process: where as many meet as the key says. No work can take a barrier as an argument.
_barriers: dict[int, Any] = {}


@dataclass
class Tally:
    """What one process saw: the trials that it got, milliseconds of its writes, and what went wrong."""

    crew: int = 1
    claimed: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: milliseconds by what was called, and those that this process and the server ran
    by_kind: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: float = 0.0
    server_ms: float = 0.0
    began: float = 0.0
    ended: float = 0.0


def timed(ms: list[float], work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    done = work()
    ms.append(1e3 * (time.perf_counter() - start))
    return done


def twice(tallies: Sequence[Tally]) -> int:
    claimed = [number for tally in tallies for number in tally.claimed]
    return len(claimed) - len(set(claimed))


@contextmanager
def together(tally: Tally) -> Iterator[None]:
    """Wait until every process is here, with its modules and connections, and note the time of what follows."""
    _barriers[tally.crew].wait(600)
    tally.began = time.perf_counter()
    yield
    tally.ended = time.perf_counter()


class Crew:
    """So many processes. They live on from one piece of work to the next, so what they import is paid once."""

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        barriers = {parties: context.Barrier(parties) for parties in {1, 2, size}}
        self._pool = ProcessPoolExecutor(size, mp_context=context, initializer=_barriers_are_here, initargs=(barriers,))

    def work(self, works: Sequence[Callable[[Tally], object]]) -> tuple[list[Tally], float]:
        """Run each in a process of its own, all at once; what they saw, and the seconds from first to last."""
        futures = [self._pool.submit(_saw, work, len(works)) for work in works]
        tallies = [future.result() for future in futures]
        return tallies, max(tally.ended for tally in tallies) - min(tally.began for tally in tallies)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()


def _barriers_are_here(barriers: dict[int, Any]) -> None:
    _barriers.update(barriers)


def _saw(work: Callable[[Tally], object], crew: int) -> Tally:
    tally = Tally(crew)
    work(tally)
    return tally
