"""A slot: one child process and, while it trains, an attempt at a trial."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from cifarsweep.errors import DeviceError, LeaseLost
from cifarsweep.store.records import Lease
from cifarsweep.training import events
from cifarsweep.worker.attempt import Attempt
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import LONGEST_START_S, ChildProcess
from cifarsweep.worker.context import WorkerContext
from cifarsweep.worker.tally import Ended

logger = logging.getLogger(__name__)

#: Children that may end in a row before they are ready; then the slot is given up.
_MAX_FAILED_STARTS = 3
#: Delay before the next start, doubled each time: memory that others hold may be freed. Seconds.
_RESTART_DELAY_S = 1.0
#: After these a child waits for the next trial.
_TERMINAL_EVENTS = (events.Finished, events.Stopped, protocol.Failed, protocol.DataRefused)


class Slot:
    """Runs one trial at a time. An idle slot can take a trial now, with a waiting child or a new one.

    `failure` is why children do not start; it is set once the slot is given up.
    """

    def __init__(self, number: int, context: WorkerContext) -> None:
        self.number = number
        #: Whether the worker shuts down: a trial that still arrives is released.
        self.shutting_down = False
        #: The last child's report on its device.
        self.ready: protocol.Ready | None = None
        self.attempt: Attempt | None = None
        self.failure = ""
        #: None before the next start: at `_restart_at` after a failed one, with the next trial if suspended.
        self.child: ChildProcess | None = None
        self._suspended = self._child_ready = False
        self._context, self._trials_taken = context, 0
        #: Whether the child trains, possibly a trial that was pruned already; and the attempt before.
        self._child_busy = False
        self._previous: Attempt | None = None
        self._failed_starts = 0
        #: Whether the child must not train another trial.
        self._needs_new_child = False
        self._restart_at = self._last_event_at = self._last_busy_at = context.clock()
        self._start_child()

    @property
    def idle(self) -> bool:
        return (self._child_ready or self._suspended) and self.attempt is None and not self._child_busy

    @property
    def trials_taken(self) -> int:
        """Trials taken, including one that a pending end may claim."""
        return self._trials_taken + (self.attempt is not None and self.attempt.recorder.wants_next)

    @property
    def reuses(self) -> bool:
        """Whether a trial waits to take over what another one trained: `poll` does it at once."""
        return self.attempt is not None and self.attempt.reuses

    @property
    def accepts_events(self) -> bool:
        """Whether to read the child's replies. A full buffer makes the child wait on its pipe."""
        there = self.attempt is None or (self.attempt.open and not self.attempt.recorder.full)
        return self.child is not None and there

    def start_trial(self, lease: Lease) -> None:
        self.attempt = Attempt(self.number, lease, self._context)
        self._last_event_at = self.attempt.began_at
        self._trials_taken += 1
        self._context.notifier.watch(lease.study)
        if self.shutting_down or not self._context.eligible.has_gpus_for(lease):
            self._with_lease(self.attempt.recorder.release)
            return
        self.attempt.announce()
        if lease.twin is not None:
            self.attempt.reuse()  # `poll` writes it
        else:
            self._train(self.attempt)

    def _train(self, attempt: Attempt) -> None:
        """Let the child train the trial."""
        self._child_busy, self._last_event_at = True, self._context.clock()
        if self.child is None:
            self._start_child()
        if self.child is not None:
            self.child.send(attempt.request())

    def _after_refused_reuse(self, attempt: Attempt) -> None:
        if self.shutting_down:
            self._with_lease(attempt.recorder.release)
            return
        attempt.log("is trained, since the rows or the result of the trial that it was to take over were edited")
        self._train(attempt)

    def read_events(self) -> None:
        """Read and handle the child's replies. Raises DeviceError if it has no device."""
        child = self.child
        assert child is not None
        try:
            replies = child.read()
            if replies is None:
                self._on_child_exit("")
                return
            self._last_event_at = self._context.clock()
            for reply in replies:
                self._with_lease(lambda reply=reply: self._on_reply(reply))  # type: ignore[misc]
                if self.child is not child:
                    return
        except protocol.ProtocolError as error:
            self._on_child_exit(str(error))

    def poll(self) -> None:
        """Renew the lease, retry pending writes, start or end the child."""
        self._manage_child()
        attempt, lease_s = self.attempt, self._context.config.timing.lease_s
        if attempt is None:
            if self._child_busy and self._child_ready and self._silent_for(lease_s):
                self._replace_child()
            return
        if not self._child_ready:
            attempt.recorder.mark_alive()  # a starting child is not hung before LONGEST_START_S
        self._with_lease(lambda: attempt.recorder.flush_if_due(self._context.config.timing.beat_s))
        if self.attempt is attempt and attempt.open and not attempt.train_sent:
            self._after_refused_reuse(attempt)
        if (
            self.attempt is attempt
            and attempt.open
            and self._child_ready
            and self.accepts_events
            and self._silent_for(lease_s)
        ):
            silent = f"no progress for {lease_s:g} s"
            words = self._replace_child()
            attempt.show_end(f"crashed: {silent}")
            self._record_crash(attempt, silent, words)
        self._close_finished()
        self._apply_stop_request()

    def _manage_child(self) -> None:
        """End a child that is idle for long or not ready in time; start one that is due."""
        now = self._context.clock()
        if not self.idle:
            self._last_busy_at = now
        elif self._child_ready and now - self._last_busy_at > self._context.config.keep_idle_s:
            self._end_child()
            self._suspended = True
        if self.child is None and not self._suspended and not self.failure and now >= self._restart_at:
            self._start_child()
        elif self.child is not None and not self._child_ready and self._silent_for(LONGEST_START_S):
            self._on_child_exit(f"it was not ready after {LONGEST_START_S:.0f} s")

    def _apply_stop_request(self) -> None:
        """Stop a trial that was paused or cancelled."""
        if self.attempt is not None and self.attempt.lease.stop_request is not None and not self.attempt.stop_sent:
            self.attempt.stop_sent = True
            self.request_stop()

    def request_stop(self) -> None:
        """Ask the child to save and stop its trial. A child that is not ready has nothing to save and is ended."""
        if self.attempt is None or not self.attempt.open:
            return
        if self._child_ready and self.child is not None:
            self.child.send(protocol.Stop())
        else:
            self._end_child()
            self._suspended = True
            self._release()

    def abandon(self) -> None:
        """Release the lease without waiting for the child; the trial continues from its last checkpoint."""
        self.kill()
        if self.attempt is not None:
            with suppress(LeaseLost):
                self.attempt.recorder.release() if self.attempt.open else self.attempt.recorder.flush()
                self.attempt.on_closed()
        self.attempt = None

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()

    def close(self) -> None:
        if self.child is not None:
            self.child.close()

    def _silent_for(self, seconds: float) -> bool:
        """Return whether the child has been silent for so long. Unread output, as after a slow query, counts."""
        silent = self._context.clock() - self._last_event_at > seconds
        return silent and self.child is not None and not self.child.has_output()

    def _with_lease(self, action: Callable[[], object]) -> None:
        """Run `action`, which writes for the trial. If the lease is lost, drop the trial and replace the child."""
        try:
            action()
        except LeaseLost as error:
            self._on_lease_lost(error)
            if self._child_busy:
                self._replace_child()
        self._close_finished()

    def _on_lease_lost(self, error: LeaseLost) -> None:
        if self.attempt is not None:
            logger.warning(f"slot {self.number}: {error}")
            self.attempt.on_lost()
        self.attempt = None

    def _record_crash(self, attempt: Attempt, error: str, story: str) -> None:
        """Record a crash; the child has been replaced already."""
        try:
            attempt.on_crash(error, story)
        except LeaseLost as lost:
            self._on_lease_lost(lost)
        self._close_finished()

    def _release(self) -> None:
        """Release a trial that no child has begun; the attempt counts for nothing."""
        attempt = self.attempt
        if attempt is None or not attempt.open:
            return
        self._trials_taken -= 1
        known = attempt.lease.checkpoints[0].step if attempt.lease.checkpoints else 0
        try:
            attempt.on_event(events.Stopped(known))
        except LeaseLost as lost:
            self._on_lease_lost(lost)
        self._close_finished()

    def _close_finished(self) -> None:
        """Close an attempt whose end is written, and start the trial that was claimed with it, if any."""
        if self.attempt is None or not self.attempt.recorder.closed:
            return
        self._previous, self.attempt = self.attempt, None
        self._previous.on_closed()
        recorder = self._previous.recorder
        if recorder.ended is Ended.GIVEN_UP:
            self._context.notifier.on_given_up(recorder.lease, recorder.error)
        if recorder.pruned and self._child_busy and self.child is not None:
            # Stop the child only once the database has the end.
            self.child.send(protocol.Stop())
        elif recorder.next_lease is not None:
            self.start_trial(recorder.next_lease)

    def _on_reply(self, reply: protocol.Reply) -> None:
        self._child_busy = self._child_busy and not isinstance(reply, _TERMINAL_EVENTS)
        ends = isinstance(reply, protocol.Failed | protocol.DataRefused) and reply.child_ends
        self._needs_new_child = self._needs_new_child or ends or isinstance(reply, events.CaptureFailed)
        match reply:
            case protocol.Ready():
                self.ready, self._child_ready, self._failed_starts, self.failure = reply, True, 0, ""
                assert self.child is not None
                self._context.telemetry.add_child(self.number, self.child.pid, reply.gpus)
            case protocol.DeviceUnavailable(for_now=True):
                self._end_child()
                self._on_failed_start(reply.reason)
            case protocol.DeviceUnavailable():
                raise DeviceError(reply.reason)
            case _ if self.attempt is not None and self.attempt.open:
                self.attempt.on_event(reply)
            case events.Saved() if self._child_busy and self.attempt is None and self._previous is not None:
                self._previous.recorder.discard(reply.checkpoint)
        if self._needs_new_child and not self._child_busy:
            self._replace_child()  # before the next trial, which may be claimed with the end of this one

    def _on_child_exit(self, reason: str) -> None:
        assert self.child is not None
        self.child.kill() if reason else self.child.reap()
        story = f"{reason}\n{self.child.exit_report()}".strip()
        if not self._child_ready:
            self._end_child()
            self._on_failed_start(story)
            return
        self._replace_child()
        if self.attempt is not None and self.attempt.open:
            cause = story.splitlines()[0]
            self.attempt.show_end(f"crashed: {cause}")
            self._record_crash(self.attempt, cause, story)

    def _start_child(self) -> None:
        """Start a child; it sends `Ready` once it can train."""
        self._suspended = self._child_ready = False
        self._last_event_at = self._context.clock()
        try:
            self.child = ChildProcess(self._context.config.command)
        except DeviceError as error:
            self._on_failed_start(str(error))

    def _end_child(self) -> str:
        """Kill the child; return the end of its stderr."""
        child, self.child = self.child, None
        self._child_ready = self._child_busy = self._needs_new_child = False
        self._context.telemetry.remove_child(self.number)
        if child is None:
            return ""
        words = child.stderr_tail()
        child.kill()
        return words

    def _replace_child(self) -> str:
        words = self._end_child()
        self._start_child()
        return words

    def _on_failed_start(self, story: str) -> None:
        """Schedule another start, or give up the slot: other slots may train with the memory there is."""
        self._child_busy = False
        self._failed_starts += 1
        self._restart_at = self._context.clock() + _RESTART_DELAY_S * 2 ** (self._failed_starts - 1)
        if self._failed_starts >= _MAX_FAILED_STARTS:
            self.failure = story
        self._release()
