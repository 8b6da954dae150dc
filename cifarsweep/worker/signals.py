"""Sees to a worker that stands still, because a statement neither comes back nor fails.

A server whose machine is paused, or whose disk hangs, keeps its connections alive and says nothing; SQLite waits for a
lock in its own code, where Python hears no signal. The main loop can do nothing then, so a thread beside it does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

#: How long one turn of the main loop may take before the database is taken for one that hangs. Seconds.
LONGEST_TURN_S = 45.0
#: How long the second signal of a person waits for the main loop to end in order.
_PATIENCE_S = 10.0
_TICK_S = 0.5


class Watchdog:
    """Watches the main loop from `start` to `stop`, which the main thread calls."""

    def __init__(
        self,
        clock: Callable[[], float],
        hang_up: Callable[[], None],
        leave: Callable[[], None],
        by_hand: tuple[int, ...],
    ) -> None:
        self._clock, self._hang_up, self._leave, self._by_hand = clock, hang_up, leave, by_hand
        self._turned_at = clock()
        self._heard: list[int] = []
        self._insisted_at: float | None = None
        self._over = threading.Event()
        self._ears, self._mouth = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._before = -1

    def start(self) -> None:
        """From now on Python notes every signal in our pipe at once, whatever the main thread is at."""
        os.set_blocking(self._mouth, False)
        self._before = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        signal.set_wakeup_fd(self._before)
        self._over.set()
        os.write(self._mouth, b"\0")  # no signal, but heard: or a worker would end half a second later
        self._thread.join()
        os.close(self._ears)
        os.close(self._mouth)

    @property
    def first_signal(self) -> int:
        """The one that began the end; 0 before there is any."""
        return self._heard[0] if self._heard else 0

    def turned(self) -> None:
        """Note that the main loop goes on."""
        self._turned_at = self._clock()

    def _watch(self) -> None:
        while not self._over.is_set():
            if wait([self._ears], _TICK_S):
                self._listen()
            if self._insisted_at is not None and self._clock() - self._insisted_at > _PATIENCE_S:
                self._leave()
            if self._clock() - self._turned_at > LONGEST_TURN_S:
                self.turned()
                self._hang_up()

    def _listen(self) -> None:
        self._heard += os.read(self._ears, 512)
        if self._insisted_at is None and sum(number in self._by_hand for number in self._heard) > 1:
            self._insisted_at = self._clock()
