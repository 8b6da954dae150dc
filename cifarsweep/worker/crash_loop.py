"""When children die one after the other, whatever they train: then the machine is at fault, not the trials."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from cifarsweep.errors import StoreUnavailable
from cifarsweep.store import Store
from cifarsweep.store.records import Lease
from cifarsweep.worker.outage import OutageBackoff

#: Crashes in a row after which a machine counts as bad, and the different trials that they must have hit.
_MOST_CRASHES = 3
_LEAST_TRIALS = 2


@dataclass(frozen=True, slots=True)
class _Crash:
    """A crash by trial and attempt, and the moments when the trial was taken and when its child died."""

    crash: tuple[int, int]
    began: float
    died: float


class CrashLoopDetector:
    """The crashes of one worker, over all its slots, since a trial last got on: to a checkpoint or to its end."""

    def __init__(self, store: Store, worker_id: str, patience: OutageBackoff, note: Callable[[str], None]) -> None:
        self._store, self._id, self._patience, self._note = store, worker_id, patience, note
        self._row: list[_Crash] = []
        self._innocent: set[tuple[int, int]] = set()
        self._reason = ""

    def crashed(self, lease: Lease, began: float, died: float, reason: str) -> None:
        """Note that the child of a trial, taken at `began`, died or hung."""
        self._row.append(_Crash((lease.trial_id, lease.attempt), began, died))
        self._reason = reason

    def got_on(self) -> None:
        """Note a checkpoint or an end: this machine can train."""
        self._row.clear()
        self._innocent.clear()

    def convicts(self) -> bool:
        """Whether the machine is at fault; then says so. A trial that crashes elsewhere too is no evidence."""
        if not self._strong() or not self._patience.may_try():
            return False
        crashes = [death.crash for death in self._row]
        try:
            self._innocent = set(crashes) - set(self._store.queue.crashes_only_on(self._id, crashes))
        except StoreUnavailable as error:
            self._patience.failed(error)
            return False
        if not self._strong():
            return False
        self._note(
            f"{socket.gethostname()} takes no more trials: {len(crashes)} in a row died here without a checkpoint, the "
            f"last by: {self._reason}. They are given back, and it does not count against them. Look at this machine "
            "and its device, then start the worker again; if it is the trials, `cifarsweep cancel` ends them"
        )
        return True

    def _strong(self) -> bool:
        """Children that died together died of one cause: a death counts where its trial began after the one before."""
        counted, last = 0, float("-inf")
        evidence = [death for death in self._row if death.crash not in self._innocent]
        for death in evidence:
            if death.began >= last:
                counted, last = counted + 1, death.died
        return counted >= _MOST_CRASHES and len({death.crash[0] for death in evidence}) >= _LEAST_TRIALS

    def take_the_blame(self) -> None:
        """Let the row not count against the trials."""
        try:
            self._store.queue.retract_crashes(self._id, [death.crash for death in self._row])
        except StoreUnavailable as error:
            self._note(f"could not take back what crashed here: {error}")
