"""Waiting for what happens elsewhere, for as long as a slow machine may take."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar, TypeVar

from cifarsweep.errors import StoreUnavailable

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 500.0, what: Callable[[], str] = lambda: "") -> T:
    """Wait until the condition is true and return what it is; `what` tells more where that never happens.

    A database that can't be asked now may answer later: on a slow disk a worker is in a COMMIT nearly all the time.
    What takes long to ask is asked less often, so that it does not slow down what it waits for.
    """
    give_up = time.monotonic() + seconds
    while True:
        asked_at = time.monotonic()
        with suppress(StoreUnavailable):
            if found := condition():
                return found
        assert time.monotonic() < give_up, f"waited {seconds:.0f} s in vain. {what()}"
        time.sleep(max(0.02, min(3 * (time.monotonic() - asked_at), 0.2)))


class Beside(threading.Thread):
    """Does something beside a test whose worker listens to Ctrl-C, which it gets at the end, or where that fails.

    Each step is a condition to wait for, or an act without a result. `check` raises what went wrong.
    """

    #: Those that nobody has checked yet, as where the test failed before.
    _unchecked: ClassVar[set[Beside]] = set()

    def __init__(self, *steps: Callable[[], object], interrupts: bool = True) -> None:
        super().__init__(daemon=True)
        self._steps, self._interrupts = steps, interrupts
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._unchecked.add(self)
        self.start()

    def run(self) -> None:
        try:
            for step in self._steps:
                wait_for(partial(self._met, step))
        except BaseException as error:
            self._error = error
        if (self._interrupts or self._error) and not self._over.is_set() and worker_listens():
            os.kill(os.getpid(), signal.SIGINT)

    def _met(self, step: Callable[[], object]) -> bool:
        """Take a step; its condition comes no longer once the worker has ended."""
        over = self._over.is_set()
        met = (result := step()) is None or bool(result)
        assert met or not over, "the worker ended before this came true"
        return met

    def check(self) -> None:
        """Raise what went wrong; the worker has ended."""
        self._leave()
        if self._error is not None:
            raise self._error

    def _leave(self) -> None:
        self._over.set()
        self.join()
        self._unchecked.discard(self)

    @classmethod
    def leave_all(cls) -> None:
        """End those that a failed test has left: the next one's worker is not theirs."""
        for left in list(cls._unchecked):
            left._leave()


def worker_listens() -> bool:
    """Whether Ctrl-C would reach a worker; at any other time it would end the tests."""
    return signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN)
