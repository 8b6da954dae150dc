"""The only writer of a leased trial: buffers what the child reports and writes it under the guard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cifarsweep.errors import LeaseLost, RowConflict, StoreUnavailable, UnreadableStudy
from cifarsweep.spec.types import FINAL_STATES, AttemptEnd, CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.digests import RowsDigest
from cifarsweep.store.queue.twins import SourceChanged
from cifarsweep.store.records import ClaimRequest, Lease
from cifarsweep.worker.checkpoint_cleanup import CheckpointCleaner
from cifarsweep.worker.outage import OutageBackoff
from cifarsweep.worker.tally import Ended

#: Rows that are kept during an outage; beyond it the child is not read and so pauses.
FULL_BUFFER = 100_000
#: Rows that are written without waiting for the next heartbeat.
BATCH = 10_000
#: Checkpoints that an unfinished trial keeps: the newest, and one more in case the newest is damaged.
_KEPT_CHECKPOINTS = 2


class Recorder:
    """Holds the lease on one trial. Raises LeaseLost from `flush` once another worker owns the trial."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        backoff: OutageBackoff,
        clock: Callable[[], float],
        cleaner: CheckpointCleaner,
        branch_cleaner: CheckpointCleaner | None = None,
    ) -> None:
        self.lease = lease
        self.closed = False
        #: The trial that was claimed together with the end of this one, and whether one may be.
        self.next_lease: Lease | None = None
        self.wants_next = False
        #: How the attempt ended, once that is written.
        self.ended: Ended | None = None
        #: Why it failed, if so.
        self.error = ""
        #: The steps that the trial trains in all, once the child has said so.
        self.total_steps: int | None = None
        #: Whether the trial was ended by pruning, while its child still trains.
        self.pruned = False
        self._store, self._backoff, self._clock = store, backoff, clock
        self._cleaner, self._branch_cleaner = cleaner, branch_cleaner
        self._rows: list[MetricRow] = []
        self._decisions: dict[int, bool] = {}
        self._checkpoint: CheckpointRef | None = None
        self._branches: list[CheckpointRef] = []
        self._committed = [ref.path for ref in lease.checkpoints]
        self._superseded: list[str] = []
        self._rewind_to: int | None = None
        self._begins = False
        self._ending: Callable[[], object] | None = None
        self._alive = False
        self._done = False
        #: Of all rows that the trial has; None where some were there before, or went.
        self._written = RowsDigest() if lease.identity is not None and not lease.checkpoints else None
        self._written_at = clock()

    @property
    def full(self) -> bool:
        return len(self._rows) >= FULL_BUFFER

    @property
    def ending(self) -> bool:
        """Whether the trial's end waits to be written."""
        return self._ending is not None

    def mark_alive(self) -> None:
        """Record that the child lives. Without it no heartbeat renews the lease, so a hung child loses it."""
        self._alive = True

    def add(self, rows: tuple[MetricRow, ...]) -> None:
        """Buffer rows until the next heartbeat."""
        self._rows.extend(rows)
        if self._written is not None:
            self._written.add(rows)

    def set_checkpoint(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint the durable progress, with every row up to its step; written at once."""
        if self._checkpoint is not None:
            self._superseded.append(self._checkpoint.path)
        self._checkpoint = checkpoint
        self._written_at = float("-inf")

    def keep_branch(self, checkpoint: CheckpointRef) -> None:
        """Let others begin from a checkpoint, with every row before its step; written at once."""
        self._branches.append(checkpoint)
        self._written_at = float("-inf")

    def record_pruning(self, step: int, prune: bool) -> None:
        """Buffer a pruning decision. If it ends the trial, `finish` writes both in one transaction."""
        self._decisions[step] = prune

    def discard(self, checkpoint: CheckpointRef) -> None:
        """Remove a checkpoint that came after the end and that nothing points to."""
        self._cleaner.remove([checkpoint.path])

    def last_committed(self, name: str) -> MetricRow | None:
        """Return the newest stored row of a metric; None if there is none or the database is away."""
        try:
            series = self._store.metrics.read(self.lease.study, [name], only=[self.lease.number])
        except StoreUnavailable as error:
            self._backoff.record_failure(error)
            return None
        except UnreadableStudy:
            return None
        found = series.get((self.lease.number, name))
        return None if found is None else MetricRow(name, int(found[0][-1]), float(found[1][-1]))

    def rewind(self, step: int) -> None:
        """Drop rows and checkpoints beyond `step`: the child had to begin earlier than the lease says."""
        self._rewind_to, self._written = step, None
        self.flush()

    def begin(self) -> None:
        """Take over the rows before the checkpoint of another trial, from which the child began."""
        self._begins, self._written = True, None
        self.flush()

    def finish(self, result: TrialResult, want: ClaimRequest | None = None) -> None:
        """End the trial as done. With `want`, claim the next one in the same transaction."""
        self._done, self.wants_next = True, want is not None
        self.pruned = result.outcome is Outcome.PRUNED

        def ending() -> None:
            self.next_lease = self._store.queue.finish(
                self.lease, self._rows, self._checkpoint, result, want, self._decisions, self._written
            )
            self.ended = Ended.DONE

        self._end(ending)

    def reuse(self, want: ClaimRequest | None = None) -> None:
        """End the trial with the rows and the result of its twin, at the next `flush`.

        If the twin is not what it was when it ended, `lease.twin` is another one, or the trial goes on without.
        """
        self._done, self.wants_next = True, want is not None

        def ending() -> None:
            self.next_lease = self._store.queue.reuse(self.lease, want)
            self.ended = Ended.REUSED

        self._ending = ending

    def fail(self, end: AttemptEnd, error: str, traceback: str = "") -> None:
        """End the attempt with a failure, which counts against the trial."""

        def ending() -> None:
            self.error = error
            state = self._store.queue.fail(self.lease, end, error, traceback, self._rows, self._checkpoint)
            self.ended = Ended.GIVEN_UP if state in FINAL_STATES else Ended.FAILED

        self._end(ending)

    def release(self) -> None:
        """Release the lease without a failure; another worker may continue the trial."""

        def ending() -> None:
            self._store.queue.release(self.lease, self._rows, self._checkpoint)
            request = self.lease.stop_request
            self.ended = Ended.GIVEN_BACK if request is None else Ended(request.state.value)

        self._end(ending)

    def _end(self, ending: Callable[[], object]) -> None:
        self._ending = ending
        self.flush()

    def flush_if_due(self, beat_s: float) -> None:
        """Write if a heartbeat is due, a batch is full or an end waits."""
        due = self._clock() - self._written_at >= beat_s and (self._alive or self._checkpoint is not None)
        if due or self._ending is not None or len(self._rows) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write everything in one guarded transaction, unless the database is away."""
        if self.closed or not self._backoff.ready():
            return
        try:
            self._write()
        except StoreUnavailable as error:
            self._backoff.record_failure(error)
            return
        except SourceChanged as error:
            self._backoff.record_success()
            self.lease = replace(self.lease, twin=error.other)
            if error.other is None:
                self._ending, self._done, self.wants_next = None, False, False
            return
        except LeaseLost:
            self._backoff.record_success()  # the database has answered
            raise
        except RowConflict as error:
            self._backoff.record_success()
            raise LeaseLost(f"trial {self.lease.study}/{self.lease.number}: {error}") from None
        self._backoff.record_success()
        self._rows.clear()
        self._decisions.clear()
        self._alive = False
        self._written_at = self._clock()
        self._delete_superseded()

    def _write(self) -> None:
        if self._rewind_to is not None:
            # First: rows beyond the rewound step would be there twice.
            self.lease, self._rewind_to = self._store.queue.rewind(self.lease, self._rewind_to), None
            kept = [ref.path for ref in self.lease.checkpoints]
            self._superseded += [path for path in self._committed if path not in kept]
            self._committed = kept
        if self._begins:
            self._write_beginning()
        if self._branches:
            self._write_branches()
        if self._ending is not None:
            self._ending()
            self.closed = True
        else:
            self.lease = self._store.queue.write(
                self.lease, self._rows, self._checkpoint, self._decisions, self.total_steps
            )

    def _write_beginning(self) -> None:
        begun = self._store.queue.begin(self.lease)
        if begun is None:
            source = self.lease.branch.source.name if self.lease.branch else ""
            raise LeaseLost(
                f"trial {self.lease.study}/{self.lease.number}: the rows of {source} are not those any more that came "
                "with its checkpoint; the trial was given back and will begin at 0"
            )
        self.lease, self._begins = begun, False
        self._superseded += self._committed
        self._committed = []

    def _write_branches(self) -> None:
        self.lease = self._store.queue.keep_branches(self.lease, self._rows, self._branches)
        unwanted = [ref.path for ref in self._branches if ref.step in self.lease.branch_steps]
        self._rows.clear()
        self._branches.clear()
        if self._branch_cleaner is not None:
            self._branch_cleaner.remove(unwanted)

    def _delete_superseded(self) -> None:
        """Delete the files that the committed state no longer points to."""
        if self._checkpoint is not None:
            self._committed.insert(0, self._checkpoint.path)
            self._checkpoint = None
            self._cleaner.remove(self._superseded + self._committed[_KEPT_CHECKPOINTS:])
            self._superseded.clear()
            del self._committed[_KEPT_CHECKPOINTS:]
        if self.closed and self._done and self._committed:
            self._cleaner.keep_only(self._committed[0])
