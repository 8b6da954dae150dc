"""One place where a trial trains: a child process and, while it trains, an attempt at a trial."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from cifarsweep.errors import DeviceError, LeaseLost
from cifarsweep.store.records import Lease
from cifarsweep.training import events
from cifarsweep.worker import protocol
from cifarsweep.worker.attempt import Attempt
from cifarsweep.worker.plan import Shared
from cifarsweep.worker.process import ChildProcess

#: Children that may die in a row before they are ready; then the machine is at fault, not a trial.
_MOST_FALSE_STARTS = 3
#: How long a child may take until it is ready: imports from a busy network disk, a driver that wakes up. Seconds.
_LONGEST_START_S = 600.0
#: After these a child waits for the next trial.
_LAST_WORDS = (events.Finished, events.Stopped, protocol.Failed, protocol.DataRefused)


class Slot:
    """Runs one trial at a time. `idle` means that it could take one now."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.number = number
        #: Whether the worker is about to go: a trial that still comes is given back.
        self.leaving = False
        self.ready: protocol.Ready | None = None
        self.attempt: Attempt | None = None
        self._shared, self._taken = shared, 0
        #: Whether the child trains, if only to come to the end of a trial that was ended early; and the last attempt.
        self._busy = False
        self._last: Attempt | None = None
        self._false_starts = 0
        self._heard_at = shared.clock()
        self.child = ChildProcess(shared.plan.command)

    @property
    def idle(self) -> bool:
        """Whether the child waits for a trial."""
        return self.ready is not None and self.attempt is None and not self._busy

    @property
    def claims(self) -> int:
        """Trials taken, with the one that may come with an end that waits to be written."""
        return self._taken + (self.attempt is not None and self.attempt.recorder.wanting)

    @property
    def listening(self) -> bool:
        """Whether the child's replies should be read; a full buffer makes the child wait on its pipe."""
        return self.attempt is None or (self.attempt.open and not self.attempt.recorder.full)

    def take(self, lease: Lease) -> None:
        """Begin to train a claimed trial."""
        self.attempt = Attempt(self.number, lease, self._shared)
        self._heard_at = self.attempt.began_at
        self._taken += 1
        if self.leaving:
            self._guarded(self.attempt.recorder.release)
            return
        self.attempt.announce()
        self._busy = True
        self.child.send(self.attempt.request())

    def hear(self) -> None:
        """Read what the child has to say. Raises DeviceError where it has no device."""
        child = self.child
        replies = child.read()
        if replies is None:
            self._child_lost("")
            return
        self._heard_at = self._shared.clock()
        try:
            for reply in replies:
                self._guarded(lambda reply=reply: self._handle(reply))  # type: ignore[misc]
                if self.child is not child:
                    return
        except protocol.ProtocolError as error:
            self._child_lost(str(error))

    def tend(self) -> None:
        """Renew the lease, retry what waits for the database, and notice a child that hangs."""
        attempt, lease_s = self.attempt, self._shared.plan.timing.lease_s
        if self.ready is None and self._silent_for(_LONGEST_START_S):
            self._child_lost(f"it was not ready after {_LONGEST_START_S:.0f} s")
        if attempt is None:
            if self._busy and self._silent_for(lease_s):
                self._replace_child()
            return
        self._guarded(lambda: attempt.recorder.tend(self._shared.plan.timing.beat_s))
        if self.attempt is attempt and attempt.open and self.listening and self._silent_for(lease_s):
            words, silent = self.child.last_words(), f"no progress for {lease_s:g} s"
            self._replace_child()
            attempt.end(f"crashed: {silent}")
            self._crashed(attempt, silent, words)
        self._settle()
        self._obey()

    def _obey(self) -> None:
        """Stop a trial that somebody paused or cancelled."""
        if self.attempt is not None and self.attempt.lease.wish is not None and not self.attempt.obeying:
            self.attempt.obeying = True
            self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Ask the child for a checkpoint and the end of its trial."""
        if self.attempt is not None and self.attempt.open:
            self.child.send(protocol.Stop())

    def drop(self) -> None:
        """Give the lease back without waiting for the child; the trial goes on from its last checkpoint."""
        self.child.kill()
        if self.attempt is not None:
            with suppress(LeaseLost):
                self.attempt.recorder.release() if self.attempt.open else self.attempt.recorder.flush()
                self.attempt.left()
        self.attempt = None

    def close(self) -> None:
        """End the child."""
        self.child.close()

    def _silent_for(self, seconds: float) -> bool:
        """Whether the child has said nothing for so long; what waits to be read, while a database was slow, counts."""
        return self._shared.clock() - self._heard_at > seconds and not self.child.has_spoken()

    def _guarded(self, action: Callable[[], object]) -> None:
        """Run what writes for the trial; if the lease is lost, so is everything that the child still says of it."""
        try:
            action()
        except LeaseLost as error:
            self._lost(error)
            self._replace_child()
        self._settle()

    def _lost(self, error: LeaseLost) -> None:
        if self.attempt is not None:
            self._shared.display.note(f"slot {self.number}: {error}")
            self.attempt.end("lost")
        self.attempt = None

    def _crashed(self, attempt: Attempt, error: str, story: str) -> None:
        """Record that the child is gone, whose successor is there already."""
        try:
            attempt.crashed(error, story)
        except LeaseLost as lost:
            self._lost(lost)
        self._settle()

    def _settle(self) -> None:
        """Leave an attempt whose end is written, for the trial that came with it where one did."""
        if self.attempt is None or not self.attempt.recorder.closed:
            return
        self._last, self.attempt = self.attempt, None
        self._last.left()
        recorder = self._last.recorder
        if recorder.pruned and self._busy:
            # Now that it stands in the database, the child may know.
            self.child.send(protocol.Stop())
        elif recorder.granted is not None:
            self.take(recorder.granted)

    def _handle(self, reply: protocol.Reply) -> None:
        self._busy = self._busy and not isinstance(reply, _LAST_WORDS)
        match reply:
            case protocol.Ready():
                self.ready, self._false_starts = reply, 0
                self._shared.telemetry.watch(self.number, self.child.pid, reply.gpu)
            case protocol.Refused():
                raise DeviceError(reply.reason)
            case _ if self.attempt is not None and self.attempt.open:
                self.attempt.record(reply)
            case events.Saved() if self._busy and self.attempt is None and self._last is not None:
                self._last.recorder.discard(reply.checkpoint)

    def _child_lost(self, reason: str) -> None:
        self.child.kill()
        story = f"{reason}\n{self.child.obituary()}".strip()
        if self.ready is None:
            self._false_starts += 1
            if self._false_starts >= _MOST_FALSE_STARTS:
                raise DeviceError(f"the training process does not start on this machine: {story}")
        self._replace_child()
        if self.attempt is not None and self.attempt.open:
            cause = story.splitlines()[0]
            self.attempt.end(f"crashed: {cause}")
            self._crashed(self.attempt, cause, story)

    def _replace_child(self) -> None:
        self.child.kill()
        self.ready, self._busy = None, False
        self.child = ChildProcess(self._shared.plan.command)
        self._heard_at = self._shared.clock()
