"""Detects a host whose children crash whatever they train: the host is at fault, not the trials."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass

from cifarsweep.errors import StoreUnavailable
from cifarsweep.store import Store
from cifarsweep.store.records import Lease
from cifarsweep.worker.outage import OutageBackoff

logger = logging.getLogger(__name__)

#: Crashes in a row after which a host counts as faulty, and the number of different trials among them.
_MIN_CRASHES = 3
_MIN_TRIALS = 2


@dataclass(frozen=True, slots=True)
class _Crash:
    """A crash: trial and attempt, when the trial was claimed, and when its child crashed."""

    attempt: tuple[int, int]
    began: float
    ended: float


class CrashLoopDetector:
    """Collects the crashes of all slots of a worker since the last progress: a checkpoint or the end of a trial."""

    def __init__(self, store: Store, worker_id: str, backoff: OutageBackoff) -> None:
        self._store, self._id, self._backoff = store, worker_id, backoff
        self._recent: list[_Crash] = []
        self._unrelated: set[tuple[int, int]] = set()
        #: Why the last child crashed.
        self.reason = ""

    def record_crash(self, lease: Lease, began: float, ended: float, reason: str) -> None:
        self._recent.append(_Crash((lease.trial_id, lease.attempt), began, ended))
        self.reason = reason

    def record_progress(self) -> None:
        """Forget the crashes: this host can train."""
        self._recent.clear()
        self._unrelated.clear()

    def host_is_faulty(self) -> bool:
        """Return whether the host is at fault, and log it. A trial that crashes elsewhere too is no evidence."""
        if not self._enough_evidence() or not self._backoff.ready():
            return False
        attempts = [crash.attempt for crash in self._recent]
        try:
            self._unrelated = set(attempts) - set(self._store.queue.crashes_only_on(self._id, attempts))
        except StoreUnavailable as error:
            self._backoff.record_failure(error)
            return False
        if not self._enough_evidence():
            return False
        logger.warning(
            f"{socket.gethostname()} takes no more trials: {len(attempts)} in a row crashed here without a checkpoint, "
            f"the last by: {self.reason}. They are given back, and it does not count against them. Look at this "
            "machine and its device, then start the worker again; if it is the trials, `cifarsweep cancel` ends them"
        )
        return True

    def _enough_evidence(self) -> bool:
        """Return whether the crashes suffice. Crashes at one time count once: they had one cause."""
        counted, last = 0, float("-inf")
        evidence = [crash for crash in self._recent if crash.attempt not in self._unrelated]
        for crash in evidence:
            if crash.began >= last:
                counted, last = counted + 1, crash.ended
        return counted >= _MIN_CRASHES and len({crash.attempt[0] for crash in evidence}) >= _MIN_TRIALS

    def retract_crashes(self) -> None:
        """Let the crashes not count against the trials."""
        try:
            self._store.queue.retract_crashes(self._id, [crash.attempt for crash in self._recent])
        except StoreUnavailable as error:
            logger.warning(f"could not take back what crashed here: {error}")
