"""What a worker has done since it began: trials by how they ended, steps, images, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.formatting import duration, plural
from cifarsweep.spec.settings import Settings
from cifarsweep.store.records import Lease
from cifarsweep.training import events
from cifarsweep.training.schedule import Budget
from cifarsweep.worker.precheck import training_images


class Ended(Enum):
    """How a trial left a worker, in the words of its last line."""

    DONE = "done"
    REUSED = "reused"
    GIVEN_BACK = "given back"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FAILED = "failed and queued again"
    GIVEN_UP = "given up"
    LOST = "lost to another worker"


class Tally:
    """Counts what one worker does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._began_at = clock, clock()
        self._trials: Counter[Ended] = Counter()
        self._steps = self._images = 0

    def add(self, ended: Ended | None, steps: int, images: int) -> None:
        """Count an attempt, with the steps that were trained in it and the images that they saw.

        `ended` is None where the database has no end of it.
        """
        if ended is not None:
            self._trials[ended] += 1
        self._steps += steps
        self._images += images

    def text(self) -> str:
        """Return it as a line of the log."""
        took = f"in {duration(self._clock() - self._began_at)}"
        if not self._trials:
            return f"this worker ended no trial {took}"
        ends = [f"{self._trials[ended]:,} {ended.value}" for ended in Ended if self._trials[ended]]
        seen = f", {plural(self._images, 'image')}" if self._images else ""
        trained = f"; trained {plural(self._steps, 'step')}{seen}" if self._steps else ""
        return f"this worker's trials: {', '.join(ends)}{trained} {took}"


class AttemptTally:
    """Counts what is trained in one attempt, by the events of its child."""

    def __init__(self, tally: Tally, lease: Lease, found: DataSetInfo | None) -> None:
        self._tally, self._from, self._reached = tally, 0, 0
        settings = lease.settings
        images = training_images(settings, found) if isinstance(settings, Settings) else None
        #: Only for counting images: how long the trial is does not matter.
        self._budget = Budget(images, settings.batch_size, 0) if images and isinstance(settings, Settings) else None

    def observe(self, event: object) -> None:
        """Look how far the child is."""
        match event:
            case events.Started():
                self._from = self._reached = event.start_step
            case events.Progress() | events.Stopped():
                self._reached = max(self._reached, event.step)
            case events.Metrics():
                self._reached = max([self._reached, *(row.step for row in event.rows)])
            case events.Finished():
                self._reached = max(self._reached, event.result.step)

    def close(self, ended: Ended | None) -> None:
        """Add the attempt to what the worker has done."""
        images = self._budget.images_seen(self._reached) - self._budget.images_seen(self._from) if self._budget else 0
        self._tally.add(ended, self._reached - self._from, images)
