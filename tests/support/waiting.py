"""Waiting for what happens elsewhere, for as long as a slow machine may take."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from cifarsweep.errors import StoreUnavailable

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 200.0, what: Callable[[], str] = lambda: "") -> T:
    """Wait until the condition is true and return what it is; `what` tells more where that never happens.

    A database that can't be asked now may answer later: on a slow disk a worker is in a COMMIT nearly all the time.
    """
    give_up = time.monotonic() + seconds
    while True:
        with suppress(StoreUnavailable):
            if found := condition():
                return found
        assert time.monotonic() < give_up, f"waited {seconds:.0f} s in vain. {what()}"
        time.sleep(0.02)


class Beside(threading.Thread):
    """Does something beside a test whose worker listens to Ctrl-C, which it gets at the end, or where that fails.

    Each step is a condition to wait for, or an act without a result. `check` raises what went wrong.
    """

    def __init__(self, *steps: Callable[[], object], interrupts: bool = True) -> None:
        super().__init__(daemon=True)
        self._steps, self._interrupts = steps, interrupts
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            for step in self._steps:
                wait_for(lambda step=step: (result := step()) is None or result)
        except BaseException as error:
            self._error = error
        if self._interrupts or self._error:
            os.kill(os.getpid(), signal.SIGINT)

    def check(self) -> None:
        self.join()
        if self._error is not None:
            raise self._error
