"""Signals that ask a process to end, and the watchdog of a main loop that hangs.

A server whose machine is paused, or whose disk hangs, keeps its connections open and never answers; SQLite waits for a
lock in its own code, where Python handles no signal. The main loop can do nothing then, so a thread beside it does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from multiprocessing.connection import wait
from typing import Any, Self

#: Sent by people: the second one means at once. Batch systems and `launch` send the others as often as they like.
INTERACTIVE_SIGNALS = (signal.SIGINT, signal.SIGTERM)
BATCH_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)

#: How long one iteration of the main loop may take before its database call counts as hung. Seconds.
LONGEST_TURN_S = 45.0
#: How long the main loop may take to end in order after a person's second signal. Seconds.
_SECOND_SIGNAL_GRACE_S = 10.0
_TICK_S = 0.5


def ignore_signals() -> None:
    """Ignore every signal that asks for the end."""
    for number in INTERACTIVE_SIGNALS + BATCH_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _asked_twice(heard: Iterable[int]) -> bool:
    return sum(number in INTERACTIVE_SIGNALS for number in heard) > 1


class SignalInbox:
    """Collects the signals that ask for the end while its `with` block runs, oldest first."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in INTERACTIVE_SIGNALS + BATCH_SIGNALS:
            self._handlers[number] = signal.signal(number, lambda received, _frame: self.heard.append(received))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def asked_twice(self) -> bool:
        """Whether a person asked for the end a second time, which means at once."""
        return _asked_twice(self.heard)


class Watchdog:
    """Watches the main loop while its `with` block runs; entered and left by the main thread.

    `on_stall` is called when the loop has not called `feed` for too long, `on_second_signal` when a person has asked
    twice and the loop does not end. Both run in a thread of their own.
    """

    def __init__(
        self, clock: Callable[[], float], on_stall: Callable[[], None], on_second_signal: Callable[[], None]
    ) -> None:
        self._clock, self._on_stall, self._on_second_signal = clock, on_stall, on_second_signal
        self._fed_at = clock()
        self._heard: list[int] = []
        self._second_signal_at: float | None = None
        self._over = threading.Event()
        self._wakeup_read, self._wakeup_write = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._previous_fd = -1

    def __enter__(self) -> Self:
        # Python writes each signal's number to this pipe at once, whatever the main thread is doing.
        os.set_blocking(self._wakeup_write, False)
        self._previous_fd = signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        self._over.set()
        os.write(self._wakeup_write, b"\0")  # wakes the thread, which would wait for its tick otherwise
        self._thread.join()
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)

    @property
    def first_signal(self) -> int:
        """The signal that began the end; 0 before there is any."""
        return self._heard[0] if self._heard else 0

    def feed(self) -> None:
        """Record that the main loop goes on."""
        self._fed_at = self._clock()

    def _watch(self) -> None:
        while not self._over.is_set():
            if wait([self._wakeup_read], _TICK_S):
                self._read_signals()
            if self._second_signal_at is not None and self._clock() - self._second_signal_at > _SECOND_SIGNAL_GRACE_S:
                self._on_second_signal()
            if self._clock() - self._fed_at > LONGEST_TURN_S:
                self.feed()
                self._on_stall()

    def _read_signals(self) -> None:
        self._heard += os.read(self._wakeup_read, 512)
        if self._second_signal_at is None and _asked_twice(self._heard):
            self._second_signal_at = self._clock()
