"""One place where a trial trains: a child process and, while it trains, an attempt at a trial."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from cifarsweep.errors import DeviceError, LeaseLost
from cifarsweep.store.records import Lease
from cifarsweep.training import events
from cifarsweep.worker.attempt import Attempt
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import LONGEST_START_S, ChildProcess
from cifarsweep.worker.context import WorkerContext

#: Children that may die in a row before they are ready; then the machine is at fault, not a trial.
_MOST_FALSE_STARTS = 3
#: The wait before the next one, doubled each time: memory that others hold may come back. Seconds.
_AFTER_FALSE_START_S = 1.0
#: After these a child waits for the next trial.
_LAST_WORDS = (events.Finished, events.Stopped, protocol.Failed, protocol.DataRefused)


class Slot:
    """Runs one trial at a time. `idle` means that it could take one now, with a child that waits or a new one.

    `failure` is why its children do not start, once it has given up; then it takes nothing more.
    """

    def __init__(self, number: int, shared: WorkerContext) -> None:
        self.number = number
        #: Whether the worker is about to go: a trial that still comes is given back.
        self.leaving = False
        #: What the last child said of its device.
        self.ready: protocol.Ready | None = None
        self.attempt: Attempt | None = None
        self.failure = ""
        #: None before the next start: at `_start_at` after one that failed, with the next trial while the slot rests.
        self.child: ChildProcess | None = None
        self._resting = self._up = False
        self._shared, self._taken = shared, 0
        #: Whether the child trains, if only to come to the end of a trial that was ended early; and the last attempt.
        self._busy = False
        self._last: Attempt | None = None
        self._false_starts = 0
        #: Whether the child should train no other trial.
        self._spent = False
        self._start_at = self._heard_at = self._worked_at = shared.clock()
        self._start()

    @property
    def idle(self) -> bool:
        """Whether it waits for a trial."""
        return (self._up or self._resting) and self.attempt is None and not self._busy

    @property
    def claims(self) -> int:
        """Trials taken, with the one that may come with an end that waits to be written."""
        return self._taken + (self.attempt is not None and self.attempt.recorder.wanting)

    @property
    def listening(self) -> bool:
        """Whether the child's replies should be read; a full buffer makes the child wait on its pipe."""
        there = self.attempt is None or (self.attempt.open and not self.attempt.recorder.full)
        return self.child is not None and there

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
        if self.child is None:
            self._start()
        if self.child is not None:
            self.child.send(self.attempt.request())

    def hear(self) -> None:
        """Read what the child has to say. Raises DeviceError where it has no device."""
        child = self.child
        assert child is not None
        try:
            replies = child.read()
            if replies is None:
                self._child_lost("")
                return
            self._heard_at = self._shared.clock()
            for reply in replies:
                self._guarded(lambda reply=reply: self._handle(reply))  # type: ignore[misc]
                if self.child is not child:
                    return
        except protocol.ProtocolError as error:
            self._child_lost(str(error))

    def tend(self) -> None:
        """Renew the lease, retry what waits for the database, see to the child."""
        self._tend_child()
        attempt, lease_s = self.attempt, self._shared.plan.timing.lease_s
        if attempt is None:
            if self._busy and self._up and self._silent_for(lease_s):
                self._replace_child()
            return
        if not self._up:
            attempt.recorder.heard()  # a child that starts for a trial is no hung one, until it counts as such
        self._guarded(lambda: attempt.recorder.tend(self._shared.plan.timing.beat_s))
        if self.attempt is attempt and attempt.open and self._up and self.listening and self._silent_for(lease_s):
            silent = f"no progress for {lease_s:g} s"
            words = self._replace_child()
            attempt.end(f"crashed: {silent}")
            self._crashed(attempt, silent, words)
        self._settle()
        self._obey()

    def _tend_child(self) -> None:
        """End a child that has nothing to do or is not ready in time, start one that is due."""
        now = self._shared.clock()
        if not self.idle:
            self._worked_at = now
        elif self._up and now - self._worked_at > self._shared.plan.keep_idle_s:
            self._end_child()
            self._resting = True
        if self.child is None and not self._resting and not self.failure and now >= self._start_at:
            self._start()
        elif self.child is not None and not self._up and self._silent_for(LONGEST_START_S):
            self._child_lost(f"it was not ready after {LONGEST_START_S:.0f} s")

    def _obey(self) -> None:
        """Stop a trial that somebody paused or cancelled."""
        if self.attempt is not None and self.attempt.lease.wish is not None and not self.attempt.obeying:
            self.attempt.obeying = True
            self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Ask the child for a checkpoint and the end of its trial; one that is not ready yet has nothing to save."""
        if self.attempt is None or not self.attempt.open:
            return
        if self._up and self.child is not None:
            self.child.send(protocol.Stop())
        else:
            self._end_child()
            self._resting = True
            self._give_back()

    def drop(self) -> None:
        """Give the lease back without waiting for the child; the trial goes on from its last checkpoint."""
        self.kill()
        if self.attempt is not None:
            with suppress(LeaseLost):
                self.attempt.recorder.release() if self.attempt.open else self.attempt.recorder.flush()
                self.attempt.left()
        self.attempt = None

    def kill(self) -> None:
        """End the child at once."""
        if self.child is not None:
            self.child.kill()

    def close(self) -> None:
        """End the child."""
        if self.child is not None:
            self.child.close()

    def _silent_for(self, seconds: float) -> bool:
        """Whether the child has said nothing for so long; what waits to be read, while a database was slow, counts."""
        silent = self._shared.clock() - self._heard_at > seconds
        return silent and self.child is not None and not self.child.has_spoken()

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

    def _give_back(self) -> None:
        """Leave a trial that no child has begun: it goes to whoever asks next, and counts for nobody."""
        attempt = self.attempt
        if attempt is None or not attempt.open:
            return
        self._taken -= 1
        known = attempt.lease.checkpoints[0].step if attempt.lease.checkpoints else 0
        try:
            attempt.record(events.Stopped(known))
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
        if recorder.pruned and self._busy and self.child is not None:
            # Now that it stands in the database, the child may know.
            self.child.send(protocol.Stop())
        elif recorder.granted is not None:
            self.take(recorder.granted)

    def _handle(self, reply: protocol.Reply) -> None:
        self._busy = self._busy and not isinstance(reply, _LAST_WORDS)
        self._spent = self._spent or isinstance(reply, events.CaptureFailed)
        match reply:
            case protocol.Ready():
                self.ready, self._up, self._false_starts, self.failure = reply, True, 0, ""
                assert self.child is not None
                self._shared.telemetry.watch(self.number, self.child.pid, reply.gpu)
            case protocol.DeviceUnavailable(for_now=True):
                self._end_child()
                self._not_started(reply.reason)
            case protocol.DeviceUnavailable():
                raise DeviceError(reply.reason)
            case _ if self.attempt is not None and self.attempt.open:
                self.attempt.record(reply)
            case events.Saved() if self._busy and self.attempt is None and self._last is not None:
                self._last.recorder.discard(reply.checkpoint)
        if self._spent and not self._busy:
            self._replace_child()  # before the next trial, which may have come with the end of this one

    def _child_lost(self, reason: str) -> None:
        assert self.child is not None
        self.child.kill() if reason else self.child.bury()
        story = f"{reason}\n{self.child.obituary()}".strip()
        if not self._up:
            self._end_child()
            self._not_started(story)
            return
        self._replace_child()
        if self.attempt is not None and self.attempt.open:
            cause = story.splitlines()[0]
            self.attempt.end(f"crashed: {cause}")
            self._crashed(self.attempt, cause, story)

    def _start(self) -> None:
        """Start a child, which may take its time until it is ready."""
        self._resting = self._up = False
        self._heard_at = self._shared.clock()
        try:
            self.child = ChildProcess(self._shared.plan.command)
        except DeviceError as error:
            self._not_started(str(error))

    def _end_child(self) -> str:
        """End the child, with what it said last."""
        child, self.child = self.child, None
        self._up = self._busy = self._spent = False
        self._shared.telemetry.leave(self.number)
        if child is None:
            return ""
        words = child.last_words()
        child.kill()
        return words

    def _replace_child(self) -> str:
        words = self._end_child()
        self._start()
        return words

    def _not_started(self, story: str) -> None:
        """Try again later, or give up: where this is for want of memory, others may train with what there is."""
        self._busy = False
        self._false_starts += 1
        self._start_at = self._shared.clock() + _AFTER_FALSE_START_S * 2 ** (self._false_starts - 1)
        if self._false_starts >= _MOST_FALSE_STARTS:
            self.failure = story
        self._give_back()
