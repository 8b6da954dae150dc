"""Where a worker's trials keep their checkpoints, and the removal of those that are not needed any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue

from cifarsweep.checkpoints.folder import CheckpointFolder, Folder
from cifarsweep.checkpoints.location import open_folder
from cifarsweep.store.records import Lease
from cifarsweep.training import events

logger = logging.getLogger(__name__)

#: How long `close` waits for pending removals. Seconds.
_CLOSE_TIMEOUT_S = 15.0


class CheckpointDirectory:
    """Gives each trial its folder; shared by all slots. Warns once if checkpoints of other workers can't be seen."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._reported_unseen = False
        self._background = BackgroundThread()

    def path(self, lease: Lease) -> str:
        """Return the folder of a trial's checkpoints."""
        return f"{self._location}/{lease.folder}/{lease.number}"

    def cleaner(self, lease: Lease) -> CheckpointCleaner:
        """Return a cleaner that never blocks a heartbeat."""
        folder = open_folder(self.path(lease))
        # Removing from a disk takes microseconds; from an object store it takes a thread.
        local = isinstance(folder, CheckpointFolder)
        return CheckpointCleaner(folder, (lambda task: task()) if local else self._background.add)

    def report_rejected(self, title: str, rejected: Sequence[events.Rejected], start_step: int) -> None:
        """Log why a trial does not continue from its newest checkpoint."""
        if rejected and start_step == 0 and all(each.not_found for each in rejected):
            if not self._reported_unseen:
                logger.warning(
                    f"{title}: checkpoints of other machines, or deleted ones, are not visible in {self._location}: "
                    "such trials begin again; share a place with --artifacts"
                )
            self._reported_unseen = True
            return
        for each in rejected:
            logger.warning(f"{title}: checkpoint {each.path} was not accepted: {each.reason}")

    def close(self) -> None:
        """Wait for pending removals, at most a few seconds."""
        self._background.close()


class CheckpointCleaner:
    """Removes files of one trial through `run_task`, which may defer it."""

    def __init__(self, folder: Folder, run_task: Callable[[Callable[[], None]], None]) -> None:
        self._folder, self._run_task = folder, run_task

    def remove(self, paths: Iterable[str]) -> None:
        names = tuple(paths)
        if names:
            self._run_task(lambda: self._folder.remove(names))

    def keep_only(self, path: str) -> None:
        self._run_task(lambda: self._folder.keep_only(path))


class BackgroundThread:
    """Runs tasks one after the other in a thread that starts with the first."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, task: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._tasks.put(task)

    def close(self) -> None:
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
