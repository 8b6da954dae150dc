"""How long to wait while the database is away: back off with jitter, and give up after half an hour."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from cifarsweep.errors import StoreUnavailable

logger = logging.getLogger(__name__)

#: How long a worker rides an outage out, and the longest pause between two tries while it is about to end, in seconds.
GIVE_UP_S = 1800.0
_SHORTENED_PAUSE_S = 1.0


class OutageBackoff:
    """One worker's view of the database's health, shared by all its slots. Says when it goes and when it is back.

    `longest_s`: pauses between two tries grow up to this. A lease must live through one, so it is a beat.
    """

    def __init__(self, clock: Callable[[], float], longest_s: float = 10.0) -> None:
        self._clock, self._longest_s = clock, longest_s
        self._away_since: float | None = None
        self._tries = 0
        self._next_try = 0.0

    @property
    def gave_up(self) -> bool:
        """Whether the outage has lasted as long as a worker waits."""
        return self._away_since is not None and self._clock() - self._away_since > GIVE_UP_S

    def ready(self) -> bool:
        """Whether it is time for the next try."""
        return self._clock() >= self._next_try

    def shorten(self) -> None:
        """The worker is about to end: whatever it still has to write can't wait."""
        self._longest_s = min(self._longest_s, _SHORTENED_PAUSE_S)
        self._next_try = self._clock()

    def record_failure(self, error: StoreUnavailable) -> None:
        """Note an outage; the next try is 0.5 s x 2^k away, with jitter so that workers don't come back in step."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
            logger.warning(f"the database is away, training goes on without it: {error}")
        pause = min(self._longest_s, 0.5 * 2**self._tries)
        self._tries += 1
        self._next_try = now + pause * random.uniform(0.5, 1.5)  # noqa: S311 - not for secrets

    def record_success(self) -> None:
        """Note that the database answers."""
        if self._away_since is not None:
            logger.info(f"the database is back after {self._clock() - self._away_since:.0f} s")
        self._away_since, self._tries, self._next_try = None, 0, 0.0
