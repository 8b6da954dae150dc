"""A database server in virtual time: cores, a queue before them, and a log that is flushed for many commits at once.

Whoever calls it is a `Caller`. A call waits for a core, runs in slices, as a kernel shares cores out, and then, where
it has written, for the log: of those that commit during a flush, all wait for the next one, which keeps them together.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

#: What a kernel lets a process run before it is another one's turn, in seconds.
SLICE_S = 0.003
#: A worker's pauses while the database is away: 0.5 s, doubled at each try up to a beat, times 0.5 to 1.5.
FIRST_PAUSE_S = 0.5


class Call(NamedTuple):
    """What a caller asks for: when, what, the seconds of a core that it takes, and whether it writes."""

    at: float
    what: str
    seconds: float
    writes: bool = True


class Caller(Protocol):
    """One that calls, and calls again once it has its answer."""

    def following(self, now: float) -> Call | None:
        """The next call after an answer at `now`; None if there is none. `Call.at` is `now` or later."""


@dataclass
class Record:
    """What came of it. Seconds."""

    waits: dict[str, array[float]] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    """From a call to its answer, by what was asked."""
    busy: float = 0.0
    """Of all cores together."""
    ended: float = 0.0
    refused: int = 0
    """Calls while the server was away."""

    def quantile(self, what: str, share: float) -> float:
        values = sorted(self.waits[what])
        return values[min(len(values) - 1, int(share * len(values)))] if values else math.nan


@dataclass
class Away:
    """The server is away from `start` to `end`; then every caller connects anew, for so many seconds of a core."""

    start: float
    end: float
    connect: float
    jitter: Callable[[], float]
    longest_pause: float = 10.0


class _Log:
    """One flush at a time."""

    def __init__(self, flush: Callable[[], float]) -> None:
        self._flush = flush
        self._ends = -math.inf
        self._next_ends: float | None = None

    def kept(self, now: float) -> float:
        """When what is committed now is on the disk; `now` never goes back."""
        if self._next_ends is not None and now >= self._ends:
            self._ends, self._next_ends = self._next_ends, None
        if now >= self._ends:
            self._ends = now + self._flush()
            return self._ends
        if self._next_ends is None:
            self._next_ends = self._ends + self._flush()
        return self._next_ends


class _Open:
    """A call under way."""

    __slots__ = ("at", "caller", "left", "tries", "what", "writes")

    def __init__(self, caller: Caller, call: Call) -> None:
        self.caller, self.at, self.what, self.left, self.writes = caller, call.at, call.what, call.seconds, call.writes
        self.tries = 0


def serve(
    callers: Iterable[Caller],
    cores: int,
    flush: Callable[[], float],
    *,
    until: float = math.inf,
    slice_s: float = SLICE_S,
    away: Away | None = None,
) -> Record:
    """Serve all calls, or those until a moment. `flush` gives the seconds of the next flush."""
    return _Server(cores, flush, slice_s, away).serve(callers, until)


class _Server:
    """The state of `serve`: who waits for a core, and what happens when."""

    def __init__(self, cores: int, flush: Callable[[], float], slice_s: float, away: Away | None) -> None:
        self._free, self._log, self._slice_s, self._away = cores, _Log(flush), slice_s, away
        self._record = Record()
        self._waiting: deque[_Open] = deque()
        #: moment, number (for an order of those at one moment), whether a call arrives or its slice ends
        self._events: list[tuple[float, int, bool, _Open]] = []
        self._number = 0
        self._connected: set[int] = set()

    def serve(self, callers: Iterable[Caller], until: float) -> Record:
        for caller in callers:
            self._ask(caller, 0.0)
        events, record = self._events, self._record
        while events and events[0][0] <= until:
            now, _, arrives, one = heapq.heappop(events)
            record.ended = now
            if arrives:
                self._arrive(one, now)
            else:
                self._end_slice(one, now)
        return record

    def _at(self, moment: float, arrives: bool, one: _Open) -> None:
        self._number += 1
        heapq.heappush(self._events, (moment, self._number, arrives, one))

    def _ask(self, caller: Caller, now: float) -> None:
        call = caller.following(now)
        if call is not None:
            self._at(call.at, True, _Open(caller, call))

    def _arrive(self, one: _Open, now: float) -> None:
        if self._away is not None and now >= self._away.start and not self._reaches(one, now, self._away):
            return
        if self._free:
            self._free -= 1
            self._run(one, now)
        else:
            self._waiting.append(one)

    def _reaches(self, one: _Open, now: float, away: Away) -> bool:
        """Whether the server is there; else the call comes again. The first one afterwards connects."""
        if now < away.end:
            self._record.refused += 1
            pause = min(away.longest_pause, FIRST_PAUSE_S * 2.0**one.tries) * away.jitter()
            one.tries += 1
            self._at(now + pause, True, one)
            return False
        if id(one.caller) not in self._connected:
            self._connected.add(id(one.caller))
            one.left += away.connect
        return True

    def _end_slice(self, one: _Open, now: float) -> None:
        if one.left > 0:
            self._waiting.append(one)
        else:
            answered = self._log.kept(now) if one.writes else now
            self._record.waits[one.what].append(answered - one.at)
            self._ask(one.caller, answered)
        if self._waiting:
            self._run(self._waiting.popleft(), now)
        else:
            self._free += 1

    def _run(self, one: _Open, now: float) -> None:
        runs = one.left if one.left <= self._slice_s else self._slice_s
        one.left -= runs
        self._record.busy += runs
        self._at(now + runs, False, one)
