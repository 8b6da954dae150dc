"""One place where a trial trains: a child process and, while it trains, the recorder of its trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from cifarsweep.errors import DeviceError, LeaseLost, StoreUnavailable
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.words import ENERGY, VAL_ACCURACY, AttemptEnd, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import Lease, Want
from cifarsweep.store.timing import Timing
from cifarsweep.training import events
from cifarsweep.worker import protocol
from cifarsweep.worker.artifacts import Artifacts
from cifarsweep.worker.display import Display
from cifarsweep.worker.patience import Patience
from cifarsweep.worker.process import ChildProcess
from cifarsweep.worker.recorder import Recorder
from cifarsweep.worker.searching import Judge
from cifarsweep.worker.suspicion import Suspicion
from cifarsweep.worker.telemetry import Gauges, Telemetry

#: Children that may die in a row before they are ready; then the machine is at fault, not a trial.
_MOST_FALSE_STARTS = 3
#: After these a child waits for the next trial.
_LAST_WORDS = (events.Finished, events.Stopped, protocol.Failed)


class Slot:
    """Runs one trial at a time. `idle` means that it could take one now."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        store: Store,
        timing: Timing,
        display: Display,
        patience: Patience,
        suspicion: Suspicion,
        artifacts: Artifacts,
        save_every_s: float,
        want: Callable[[int], Want | None],
        judge: Callable[[Lease], Judge],
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        #: Whether the worker is about to go: a trial that still comes is given back.
        self.leaving = False
        self.ready: protocol.Ready | None = None
        self.recorder: Recorder | None = None
        self._command, self._store, self._timing, self._display = command, store, timing, display
        self._patience, self._artifacts, self._save_every_s, self._clock = patience, artifacts, save_every_s, clock
        self._want, self._taken = want, 0
        self._new_judge = judge
        self._judge: Judge | None = None
        self._telemetry, self._gauges = telemetry, Gauges(telemetry, number)
        #: Whether the child trains, if only to come to the end of a trial that was ended early; and the last recorder.
        self._busy = False
        self._last: Recorder | None = None
        self._suspicion = suspicion
        self._false_starts = 0
        self._heard_at = self._took_at = clock()
        self._obeying = False
        self._started: events.Started | None = None
        self._rejected: list[events.Rejected] = []
        self.child = ChildProcess(command)

    @property
    def idle(self) -> bool:
        """Whether the child waits for a trial."""
        return self.ready is not None and self.recorder is None and not self._busy

    @property
    def claims(self) -> int:
        """Trials taken, with the one that may come with an end that waits to be written."""
        return self._taken + (self.recorder is not None and self.recorder.wanting)

    @property
    def listening(self) -> bool:
        """Whether the child's replies should be read; a full buffer makes the child wait on its pipe."""
        return self.recorder is None or not (self.recorder.full or self.recorder.ending)

    def take(self, lease: Lease) -> None:
        """Begin to train a claimed trial."""
        broom = self._artifacts.broom(lease)
        self.recorder = Recorder(self._store, lease, self._patience, self._clock, broom)
        self._started, self._rejected, self._obeying = None, [], False
        self._heard_at = self._took_at = self._clock()
        self._taken += 1
        if self.leaving:
            self._guarded(self.recorder.release)
            return
        self._judge = self._new_judge(lease)
        self._display.begin(self.number, lease)
        self._busy = True
        self.child.send(
            protocol.Train(
                label=f"{lease.study}/{lease.number}",
                settings=_plain(lease.settings),
                seed=lease.seed,
                folder=self._artifacts.path(lease),
                resume=lease.checkpoints,
                save_every_s=self._save_every_s,
            )
        )

    def hear(self) -> None:
        """Read what the child has to say. Raises DeviceError where it has no device."""
        try:
            replies = self.child.read()
        except protocol.ProtocolError as error:
            self._child_lost(str(error))
            return
        if replies is None:
            self._child_lost("")
            return
        self._heard_at = self._clock()
        for reply in replies:
            self._guarded(lambda reply=reply: self._handle(reply))  # type: ignore[misc]

    def tend(self) -> None:
        """Renew the lease, retry what waits for the database, and notice a child that hangs."""
        recorder = self.recorder
        if recorder is None:
            if self._busy and self._silent_s() > self._timing.lease_s:
                self.child.kill()
                self._restart()
            return
        self._guarded(lambda: recorder.tend(self._timing.beat_s))
        if (
            self.recorder is not None
            and not recorder.ending
            and self.listening
            and self._silent_s() > self._timing.lease_s
        ):
            words = self.child.last_words()
            self.child.kill()
            self._crashed(recorder, f"no progress for {self._timing.lease_s:.0f} s", words)
            self._restart()
        self._settle()
        self._obey()

    def _obey(self) -> None:
        """Stop a trial that somebody paused or cancelled."""
        if self.recorder is not None and self.recorder.lease.wish is not None and not self._obeying:
            self._obeying = True
            self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Ask the child for a checkpoint and the end of its trial."""
        if self.recorder is not None and not self.recorder.ending:
            self.child.send(protocol.Stop())

    def drop(self) -> None:
        """Give the lease back without waiting for the child; the trial goes on from its last checkpoint."""
        self.child.kill()
        recorder = self.recorder
        if recorder is not None and not recorder.ending:
            self._guarded(recorder.release)
        self.recorder = None

    def close(self) -> None:
        """End the child."""
        self.child.close()

    def _silent_s(self) -> float:
        return self._clock() - self._heard_at

    def _guarded(self, action: Callable[[], object]) -> None:
        """Run what writes for the trial; if the lease is lost, so is everything that the child still says of it."""
        try:
            action()
        except LeaseLost as error:
            if self.recorder is not None:
                self._display.note(f"slot {self.number}: {error}")
                self._display.end(self.number, self.recorder.lease, "lost")
            self.recorder = None
            self.child.kill()
            self._restart()
        self._settle()

    def _settle(self) -> None:
        if self.recorder is not None and self.recorder.closed:
            self._last, self.recorder = self.recorder, None
            granted = self._last.granted
            if self._last.pruned and self._busy:
                # Now that it stands in the database, the child may know.
                self.child.send(protocol.Stop())
            elif granted is not None:
                self.take(granted)

    def _handle(self, reply: protocol.Reply) -> None:
        self._busy = self._busy and not isinstance(reply, _LAST_WORDS)
        match reply:
            case protocol.Ready():
                self.ready, self._false_starts = reply, 0
                self._telemetry.watch(self.number, self.child.pid, reply.gpu)
            case protocol.Refused():
                raise DeviceError(reply.reason)
            case _ if self.recorder is not None and not self.recorder.ending:
                self.recorder.heard()
                self._record(self.recorder, reply)
            case events.Saved() if self._busy and self.recorder is None and self._last is not None:
                self._last.discard(reply.checkpoint)

    def _record(self, recorder: Recorder, reply: protocol.Reply) -> None:
        match reply:
            case events.Started():
                self._begun(recorder, reply)
            case events.Progress():
                self._display.progress(self.number, reply)
            case events.Metrics():
                recorder.add(reply.rows)
                self._gauge(recorder, reply.rows)
                self._display.metrics(self.number, reply)
                self._weigh(recorder, reply.rows)
            case events.Saved():
                self._suspicion.got_on()
                recorder.add(self._gauges.at_checkpoint(reply.checkpoint.step))
                recorder.point(reply.checkpoint)
            case events.SaveFailed():
                self._display.note(f"{_title(recorder)}: no checkpoint at step {reply.step:,}: {reply.reason}")
            case events.Rejected():
                self._rejected.append(reply)
            case events.Finished():
                self._suspicion.got_on()
                self._display.end(self.number, recorder.lease, str(reply.result.outcome), reply.result)
                recorder.finish(self._priced(reply.result), self._want(self.number))
            case events.Stopped():
                wish = recorder.lease.wish
                how = f"{wish.state} at step {reply.step:,}" if wish else f"stopped at step {reply.step:,}, given back"
                self._display.end(self.number, recorder.lease, how)
                recorder.release()
            case protocol.Failed():
                self._failed(recorder, reply)

    def _gauge(self, recorder: Recorder, rows: Sequence[MetricRow]) -> None:
        """Set beside an evaluation what the hardware did until then."""
        at = next((row for row in rows if row.name == VAL_ACCURACY), None)
        if at is not None:
            recorder.add(self._gauges.at_evaluation(at.step))

    def _weigh(self, recorder: Recorder, rows: Sequence[MetricRow]) -> None:
        """Where the study may end trials early: decide at an evaluation, but not at the last one, which ends it anyway.

        The decision and the end it makes come in one transaction. A trial goes on while the database is away.
        """
        at = next((row for row in rows if row.name == VAL_ACCURACY), None)
        if self._judge is None or at is None or not self._patience.may_try():
            return
        if self._started is not None and at.step >= self._started.total_steps:
            return
        try:
            prune = self._judge(at.step, at.value)
        except StoreUnavailable as error:
            self._patience.failed(error)
            return
        if prune is not None:
            recorder.decide(at.step, prune)
        if prune:
            result = TrialResult(Outcome.PRUNED, at.step, {row.name: row.value for row in rows}, "")
            self._display.end(self.number, recorder.lease, str(result.outcome), result)
            recorder.finish(self._priced(result))

    def _begun(self, recorder: Recorder, started: events.Started) -> None:
        self._artifacts.explain(_title(recorder), self._rejected, started.start_step)
        known = recorder.lease.checkpoints[0].step if recorder.lease.checkpoints else 0
        if started.start_step < known:
            recorder.rewind(started.start_step)
        self._started = started
        earlier = recorder.committed(ENERGY) if started.start_step else None
        self._gauges = Gauges(self._telemetry, self.number, started.start_step, earlier)
        self._display.started(self.number, started)

    def _priced(self, result: TrialResult) -> TrialResult:
        """The result with what the model and its training cost, which reports set beside its accuracy."""
        if self._started is None:
            return result
        price = {"params": float(self._started.params), "flops_per_image": float(self._started.flops_per_image)}
        return replace(result, final={**result.final, **self._gauges.final(), **price})

    def _failed(self, recorder: Recorder, failure: protocol.Failed) -> None:
        end = AttemptEnd.OUT_OF_MEMORY if failure.out_of_memory else AttemptEnd.EXCEPTION
        recorder.fail(end, failure.error, failure.traceback)
        self._display.end(self.number, recorder.lease, f"failed: {failure.error.splitlines()[0]}")

    def _child_lost(self, reason: str) -> None:
        self.child.kill()
        story = f"{reason}\n{self.child.obituary()}".strip()
        recorder = self.recorder
        if recorder is not None and not recorder.ending:
            self._display.end(self.number, recorder.lease, f"crashed: {story.splitlines()[0]}")
            self._crashed(recorder, story.splitlines()[0], story)
        elif self.ready is None:
            self._false_starts += 1
            if self._false_starts >= _MOST_FALSE_STARTS:
                raise DeviceError(f"the training process does not start on this machine: {story}")
        self._restart()

    def _crashed(self, recorder: Recorder, error: str, story: str) -> None:
        self._suspicion.crashed(recorder.lease, self._took_at, self._clock(), error)
        self._guarded(lambda: recorder.fail(AttemptEnd.CRASHED, error, story))

    def _restart(self) -> None:
        self.ready, self._busy = None, False
        self.child = ChildProcess(self._command)


@lru_cache
def _plain(settings: Settings) -> dict[str, Any]:
    """As JSON has it; the trials of a cell share their settings."""
    return settings.model_dump(mode="json")


def _title(recorder: Recorder) -> str:
    return f"{recorder.lease.study}/{recorder.lease.number}"
