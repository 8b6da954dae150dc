"""How many workers the queue of trials calls for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cifarsweep.errors import StoreUnavailable, UnknownStudy, UnreadableStudy
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.store.status_records import pause_after

_LOOK_EVERY_S = 5.0
#: How long trials call for no worker after one has found nothing that it can take: at first, and at most. Seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 600.0


class OpenTrials(NamedTuple):
    """Trials that wait for a worker, and those that one trains."""

    queued: int
    under_way: int


def open_trials(store: Store, studies: Sequence[str], concerns: Callable[[Study], bool]) -> OpenTrials:
    """Count the open trials of these studies or of all, but for those that do not concern the workers.

    Queued are also points that a search may ask for, and trials whose worker has vanished. Raises StoreUnavailable.
    """
    found = [each for name in studies for each in store.studies.status(name)] if studies else store.studies.status()
    queued = under_way = 0
    for each in found:
        leased = each.trials[TrialState.LEASED]
        if (leased or each.trials[TrialState.QUEUED] or each.to_ask) and _concerns(store, each.study, concerns):
            vanished = sum(worker.expired for worker in each.workers)
            queued += each.trials[TrialState.QUEUED] + each.to_ask + vanished
            under_way += leased - vanished
    return OpenTrials(queued, under_way)


def _concerns(store: Store, name: str, concerns: Callable[[Study], bool]) -> bool:
    try:
        return concerns(store.studies.get(name).spec)
    except (UnknownStudy, UnreadableStudy):
        return False


class FollowedQueue:
    """Says how many workers there should be: one for each `at_once` open trials, at most `most`.

    Trials that a worker left in the queue, since no such worker can take them, call for none. A worker that could not
    work at all, for its input or its machine, has no successor.
    """

    def __init__(
        self,
        count: Callable[[], OpenTrials],
        *,
        at_once: int,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count, self._at_once, self._most, self._clock = count, at_once, most, clock
        self._open = OpenTrials(0, 0)
        self._untaken = 0
        self._look_at = self._forget_at = float("-inf")
        self._pause_s = _FIRST_PAUSE_S

    def wanted(self, there: int) -> int:
        """Return how many there should be where so many are there, from a look some seconds ago at most."""
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
            ended = self._clock()
            self._look_at = ended + pause_after(ended - now, _LOOK_EVERY_S)
        queued = self._workers(self._open.queued - self._untaken)
        # A trial that somebody trains is a reason to stay, for it may come back, but not to begin.
        return min(self._most, self._workers(sum(self._open) - self._untaken), there + queued)

    def on_end(self, code: int) -> None:
        """Take note that a worker has ended, with 0 where it found nothing more to do."""
        if code == 0:
            # What was queued at the last look: a study that came since then is not what it left behind.
            self._untaken, self._forget_at = self._open.queued, self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._look_at = float("-inf")
        else:
            self._most = max(0, self._most - 1)

    def _look(self, now: float) -> None:
        with contextlib.suppress(StoreUnavailable):  # as before
            self._open = self._count()
        self._untaken = 0 if now >= self._forget_at else min(self._untaken, self._open.queued)
        if not self._open.queued:
            self._pause_s = _FIRST_PAUSE_S

    def _workers(self, trials: int) -> int:
        return -(-trials // self._at_once)
