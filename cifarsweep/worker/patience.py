"""How long to wait while the database is away: back off with jitter, and give up after half an hour."""

from __future__ import annotations

import random
from collections.abc import Callable

#: Longest pause between two tries, and how long a worker rides an outage out, in seconds.
LONGEST_PAUSE_S = 30.0
GIVE_UP_S = 1800.0


class Patience:
    """One worker's view of the database's health, shared by all its slots."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._away_since: float | None = None
        self._tries = 0
        self._next_try = 0.0

    @property
    def away(self) -> bool:
        """Whether the last try failed."""
        return self._away_since is not None

    @property
    def exhausted(self) -> bool:
        """Whether the outage has lasted as long as a worker waits."""
        return self._away_since is not None and self._clock() - self._away_since > GIVE_UP_S

    def may_try(self) -> bool:
        """Whether it is time for the next try."""
        return self._clock() >= self._next_try

    def failed(self) -> None:
        """Note an outage; the next try is 0.5 s x 2^k away, with jitter so that workers don't come back in step."""
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        pause = min(LONGEST_PAUSE_S, 0.5 * 2**self._tries)
        self._tries += 1
        self._next_try = now + pause * random.uniform(0.5, 1.5)  # noqa: S311 - not for secrets

    def succeeded(self) -> None:
        """Note that the database answers."""
        self._away_since, self._tries, self._next_try = None, 0, 0.0
