"""How long to wait while the database is away: back off with jitter, and give up after half an hour."""

from __future__ import annotations

import random
from collections.abc import Callable

from cifarsweep.errors import StoreUnavailable

#: Longest pause between two tries, and how long a worker rides an outage out, in seconds.
LONGEST_PAUSE_S = 30.0
GIVE_UP_S = 1800.0


class Patience:
    """One worker's view of the database's health, shared by all its slots. Says when it goes and when it is back."""

    def __init__(self, clock: Callable[[], float], note: Callable[[str], None]) -> None:
        self._clock, self._note = clock, note
        self._away_since: float | None = None
        self._tries = 0
        self._next_try = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether the outage has lasted as long as a worker waits."""
        return self._away_since is not None and self._clock() - self._away_since > GIVE_UP_S

    def may_try(self) -> bool:
        """Whether it is time for the next try."""
        return self._clock() >= self._next_try

    def failed(self, error: StoreUnavailable) -> None:
        """Note an outage; the next try is 0.5 s x 2^k away, with jitter so that workers don't come back in step."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
            self._note(f"the database is away, training goes on without it: {error}")
        pause = min(LONGEST_PAUSE_S, 0.5 * 2**self._tries)
        self._tries += 1
        self._next_try = now + pause * random.uniform(0.5, 1.5)  # noqa: S311 - not for secrets

    def succeeded(self) -> None:
        """Note that the database answers."""
        if self._away_since is not None:
            self._note(f"the database is back after {self._clock() - self._away_since:.0f} s")
        self._away_since, self._tries, self._next_try = None, 0, 0.0
