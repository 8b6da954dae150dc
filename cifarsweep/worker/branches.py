"""Checkpoints that trials share: what an attempt has to do with them, and their removal."""

from __future__ import annotations

from cifarsweep.errors import StoreUnavailable
from cifarsweep.store.records import Lease
from cifarsweep.worker.child.protocol import BranchFile
from cifarsweep.worker.context import WorkerContext


class Branches:
    """The branches of one attempt: where others are to begin from its trial, and where it may begin itself."""

    def __init__(self, lease: Lease, context: WorkerContext) -> None:
        self._context = context
        self._in_a_tree = bool(lease.branch_steps) or lease.branch is not None
        #: Where it may begin; None once it has a checkpoint of its own from there on.
        self._begins_at = None if lease.branch is None else lease.branch.checkpoint.step
        self.cleaner = context.checkpoints.branch_cleaner(lease) if lease.branch_steps else None
        #: After which steps the child saves a checkpoint for others.
        self.steps = tuple(sorted(lease.branch_steps)) if context.checkpoints.keeps_branches else ()

    def file(self, lease: Lease) -> BranchFile | None:
        """Return the checkpoint of another trial that this one may begin from."""
        if lease.branch is None:
            return None
        return BranchFile(self._context.checkpoints.branches_path(lease.branch.source), lease.branch.checkpoint)

    def on_progress(self, lease: Lease) -> None:
        """Remove what the trial began from, if nobody else does, once its own checkpoint is recorded."""
        if self._begins_at is not None and lease.step >= self._begins_at:
            self._begins_at = None
            free_branches(self._context)

    def on_closed(self) -> None:
        """Remove what nobody begins from any more, now that the trial has ended."""
        if self._in_a_tree:
            free_branches(self._context)


def free_branches(context: WorkerContext) -> None:
    """Remove the checkpoints that no trial is to begin from any more; in an outage the end of another trial does it."""
    if not context.backoff.ready():
        return
    try:
        freed = context.store.queue.free_branches()
    except StoreUnavailable as error:
        context.backoff.record_failure(error)
        return
    for each in freed:
        context.checkpoints.remove_branches(each)
