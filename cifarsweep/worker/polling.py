"""How long an idle worker pauses between two polls for a trial."""

from __future__ import annotations

import random

#: The pause of a worker whose poll was the only one within a second, and the longest of the others. Seconds.
POLL_EVERY_S, LONGEST_PAUSE_S = 1.0, 10.0
#: How much longer each pause is than the one before, and between which factors it is drawn.
GROWTH, JITTER = 1.5, (0.75, 1.25)


class PollPauses:
    """Pauses that grow while others poll as well: of many idle workers one polls each second, and the others rarely.

    So a trial that is queued is soon taken by somebody, however many wait for it, and waiting costs little.
    Pauses are no longer than a beat, nor than `LONGEST_PAUSE_S`.
    """

    def __init__(self, beat_s: float) -> None:
        self._longest_s = max(POLL_EVERY_S, min(LONGEST_PAUSE_S, beat_s))
        self._pause_s = POLL_EVERY_S

    def reset(self) -> None:
        """Begin with the shortest again: there was a trial."""
        self._pause_s = POLL_EVERY_S

    def next(self, *, alone: bool) -> float:
        """The seconds until the next poll; `alone` says that nobody else has polled for a second."""
        if alone:
            self.reset()
            return POLL_EVERY_S
        self._pause_s = min(self._longest_s, GROWTH * self._pause_s)
        # Workers that were started together must not poll together for ever.
        return self._pause_s * random.uniform(*JITTER)  # noqa: S311 - not for secrets
