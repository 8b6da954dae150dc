"""Passes on to Optuna what is finished, beside the worker's own loop: no lease waits for it."""

from __future__ import annotations

from threading import Thread

from cifarsweep.store import Store

#: Trials of one go; the rest waits for the next beat.
_AT_ONCE = 20


class Teller:
    """At most one thread at a time. What it has not told when the worker ends, others tell."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread: Thread | None = None

    def nudge(self) -> None:
        """Begin to tell, unless that is under way."""
        if self._thread is None:
            # Optuna would import it in the thread, and half imported it breaks what our loop asks of SQLAlchemy.
            import sqlalchemy.orm  # noqa: F401
        if self._thread is None or not self._thread.is_alive():
            # Of a daemon, so that a database that hangs keeps no worker from ending.
            self._thread = Thread(target=self._store.tell, kwargs={"limit": _AT_ONCE}, name="teller", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until what is under way is done, or the time is over."""
        if self._thread is not None:
            self._thread.join(timeout_s)
