"""Waiting for what happens elsewhere, for as long as a slow machine may take."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 200.0, what: Callable[[], str] = lambda: "") -> T:
    """Wait until the condition is true and return what it is; `what` tells more where that never happens."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"waited {seconds:.0f} s in vain. {what()}"
        time.sleep(0.02)
    return found
