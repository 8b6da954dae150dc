"""Where a worker's trials keep their checkpoints, and the removal of those that are not needed any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Literal, TypeAlias

from cifarsweep.checkpoints.folder import CheckpointFolder, Folder
from cifarsweep.checkpoints.location import branches_of, open_folder
from cifarsweep.store.records import FreedBranches, Lease, SourceRef
from cifarsweep.training import events

logger = logging.getLogger(__name__)

#: What is left of a trial that is done: its last checkpoint and those that others are to begin from, the last one
#: alone, or nothing.
KeepCheckpoints: TypeAlias = Literal["branches", "final", "none"]

#: How long `close` waits for pending removals. Seconds.
_CLOSE_TIMEOUT_S = 15.0


class CheckpointDirectory:
    """Gives each trial its folder; shared by all slots. Warns once if checkpoints of other workers can't be seen."""

    def __init__(self, location: str, keep: KeepCheckpoints = "branches") -> None:
        self._location, self._keep = location, keep
        self._reported_unseen = False
        self._background = BackgroundThread()

    @property
    def keeps_branches(self) -> bool:
        """Whether trials keep checkpoints for others to begin from."""
        return self._keep == "branches"

    def path(self, trial: Lease | SourceRef) -> str:
        """Return the folder of a trial's checkpoints."""
        return f"{self._location}/{trial.folder}/{trial.number}"

    def branches_path(self, trial: Lease | SourceRef) -> str:
        """Return the folder of the checkpoints that others begin from."""
        return branches_of(self.path(trial))

    def cleaner(self, lease: Lease) -> CheckpointCleaner:
        """Return a cleaner that never blocks a heartbeat."""
        return self._cleaner(self.path(lease), keeps_last=self._keep != "none")

    def branch_cleaner(self, trial: Lease | SourceRef) -> CheckpointCleaner:
        """Return a cleaner of the checkpoints that others begin from."""
        return self._cleaner(self.branches_path(trial), keeps_last=False)

    def _cleaner(self, path: str, *, keeps_last: bool) -> CheckpointCleaner:
        folder = open_folder(path)
        # Removing from a disk takes microseconds; from an object store it takes a thread.
        local = isinstance(folder, CheckpointFolder)
        return CheckpointCleaner(folder, (lambda task: task()) if local else self._background.add, keeps_last)

    def remove_branches(self, freed: FreedBranches) -> None:
        """Remove checkpoints that nobody begins from any more; with the last of them also what was never recorded."""
        cleaner = self.branch_cleaner(freed.source)
        cleaner.remove_all() if freed.last else cleaner.remove(freed.paths)

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

    def __init__(self, folder: Folder, run_task: Callable[[Callable[[], None]], None], keeps_last: bool = True) -> None:
        self._folder, self._run_task, self._keeps_last = folder, run_task, keeps_last

    def remove(self, paths: Iterable[str]) -> None:
        names = tuple(paths)
        if names:
            self._run_task(lambda: self._folder.remove(names))

    def keep_only(self, path: str) -> None:
        """Remove all checkpoints of a trial that is done but the last, or that too where it is not to be kept."""
        self._run_task(lambda: self._folder.keep_only(path)) if self._keeps_last else self.remove_all()

    def remove_all(self) -> None:
        self._run_task(lambda: self._folder.keep_only(""))


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
