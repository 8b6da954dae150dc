"""Syncs finished trials to Optuna in a thread, and before the worker ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from threading import Thread

from cifarsweep.formatting import plural
from cifarsweep.spec.types import StopRequest, TrialState
from cifarsweep.store import Store
from cifarsweep.store.status_records import StudyStatus

#: Trials of one sync; the rest waits for the next heartbeat.
_BATCH = 20
#: How long a worker that is done syncs; the next worker syncs what is left then. Seconds.
_FINAL_SYNC_S = 60.0


class OptunaSync:
    """Syncs in one thread at a time. Other workers sync what it has not synced when the worker ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread: Thread | None = None

    def trigger(self) -> None:
        """Start a sync, unless one is under way."""
        if self._thread is None:
            # Optuna would import it in the thread; half imported, it breaks queries of the main loop.
            import sqlalchemy.orm  # noqa: F401
        if self._thread is None or not self._thread.is_alive():
            # A daemon thread: a database that hangs must not block the worker's exit.
            self._thread = Thread(
                target=self._store.sync_optuna, kwargs={"limit": _BATCH}, name="optuna-sync", daemon=True
            )
            self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for a sync under way."""
        if self._thread is not None:
            self._thread.join(timeout_s)


def sync_remaining(store: Store, stop_requested: Callable[[], object]) -> None:
    """Sync all that is finished, and wait while another worker does: it may have begun before our last trial ended."""
    give_up = time.monotonic() + _FINAL_SYNC_S
    while not stop_requested() and store.unsynced() and time.monotonic() < give_up:
        if store.sync_optuna(limit=500):
            continue
        if store.sync_failing:
            return
        time.sleep(0.2)


def unfinished_notes(found: Sequence[StudyStatus], served: Collection[str]) -> Iterator[str]:
    """Yield log lines on the trials that are left behind and that no worker waits for.

    Those that were given up count only in the studies that the worker `served`: others are old news.
    """
    count = {state: sum(each.trials[state] for each in found) for state in TrialState}
    lost = {state: sum(each.trials[state] for each in found if each.study in served) for state in TrialState}
    points = sum(each.held for each in found if each.stop_request is StopRequest.PAUSE)
    if count[TrialState.PAUSED] or points:
        and_points = f" and {points} points of a search" if points else ""
        trials = plural(count[TrialState.PAUSED], "trial")
        yield f"paused: {trials}{and_points}; `cifarsweep resume STUDY` queues them again"
    given_up = [f"{lost[state]} {state}" for state in (TrialState.FAILED, TrialState.POISONED) if lost[state]]
    if given_up:
        why = "`cifarsweep show STUDY/TRIAL` says why, `cifarsweep retry STUDY` queues them again"
        yield f"given up: {', '.join(given_up)}; {why}"
