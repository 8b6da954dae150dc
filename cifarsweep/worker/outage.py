"""Backs off with jitter while the database is away, and gives up after half an hour."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from cifarsweep.errors import StoreUnavailable

logger = logging.getLogger(__name__)

#: How long a worker waits out an outage, and the longest pause between two tries while it shuts down. Seconds.
GIVE_UP_S = 1800.0
_SHORTENED_PAUSE_S = 1.0


class OutageBackoff:
    """One worker's view of the database's health, shared by its slots. Logs when an outage begins and ends.

    Pauses between two tries grow up to `longest_s`, one heartbeat, since leases must survive a pause.
    """

    def __init__(self, clock: Callable[[], float], longest_s: float = 10.0) -> None:
        self._clock, self._longest_s = clock, longest_s
        self._away_since: float | None = None
        self._tries = 0
        self._next_try = 0.0

    @property
    def gave_up(self) -> bool:
        return self._away_since is not None and self._clock() - self._away_since > GIVE_UP_S

    def ready(self) -> bool:
        return self._clock() >= self._next_try

    def shorten(self) -> None:
        """Shorten the pauses: the worker shuts down and has something to write."""
        self._longest_s = min(self._longest_s, _SHORTENED_PAUSE_S)
        self._next_try = self._clock()

    def record_failure(self, error: StoreUnavailable) -> None:
        """Schedule the next try in 0.5 s x 2^k, with jitter so that workers don't return in step."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
            logger.warning(f"the database is away, training goes on without it: {error}")
        pause = min(self._longest_s, 0.5 * 2**self._tries)
        self._tries += 1
        self._next_try = now + pause * random.uniform(0.5, 1.5)  # noqa: S311 - not for secrets

    def record_success(self) -> None:
        if self._away_since is not None:
            logger.info(f"the database is back after {self._clock() - self._away_since:.0f} s")
        self._away_since, self._tries, self._next_try = None, 0, 0.0
