"""How many workers the queue of trials calls for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cifarsweep.errors import StoreUnavailable, UnknownStudy, UnreadableStudy
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store

_LOOK_EVERY_S = 5.0
_OPEN = TrialState.QUEUED, TrialState.LEASED
#: How long trials call for no worker after one has found nothing that it can take: at first, and at most. Seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 600.0


def open_trials(store: Store, studies: Sequence[str], concerns: Callable[[Study], bool]) -> int:
    """Count the trials that are queued or under way, of these studies or of all, and points that a search may ask for.

    Those of a study that does not concern the workers are left out. Raises StoreUnavailable.
    """
    found = [each for name in studies for each in store.studies.status(name)] if studies else store.studies.status()
    counts = {each.study: sum(each.trials[state] for state in _OPEN) + each.to_ask for each in found}
    return sum(count for name, count in counts.items() if count and _concerns(store, name, concerns))


def _concerns(store: Store, name: str, concerns: Callable[[Study], bool]) -> bool:
    try:
        return concerns(store.studies.get(name).spec)
    except (UnknownStudy, UnreadableStudy):
        return False


class FollowedQueue:
    """Says how many workers there should be: one for each `at_once` open trials, at most `most`.

    Trials that a worker left behind, since no such worker can take them, call for none. A worker that could not work
    at all, for its input or its machine, has no successor.
    """

    def __init__(
        self, count: Callable[[], int], *, at_once: int, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._at_once, self._most, self._clock = count, at_once, most, clock
        self._open = self._untaken = 0
        self._looked_at = self._forget_at = float("-inf")
        self._pause_s = _FIRST_PAUSE_S

    def wanted(self) -> int:
        """Return the number of workers that there should be, from a look at the queue some seconds ago at most."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            try:
                self._open = self._count()
            except StoreUnavailable:
                return self._workers()  # as before
            self._untaken = 0 if now >= self._forget_at else min(self._untaken, self._open)
            if not self._open:
                self._pause_s = _FIRST_PAUSE_S
        return self._workers()

    def on_end(self, code: int) -> None:
        """Take note that a worker has ended, with 0 where it found nothing more to do."""
        if code == 0:
            # What was open at the last look: a study that came since then is not what it left behind.
            self._untaken, self._forget_at = self._open, self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._looked_at = float("-inf")
        else:
            self._most = max(0, self._most - 1)

    def _workers(self) -> int:
        return min(self._most, -(-(self._open - self._untaken) // self._at_once))
