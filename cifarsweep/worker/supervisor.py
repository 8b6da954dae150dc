"""The supervisor: claims trials, hands them to children, records what they report. Imports no torch."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from cifarsweep.errors import DeviceError, StoreUnavailable
from cifarsweep.store import Store
from cifarsweep.store.records import ClaimRequest
from cifarsweep.worker.checkpoint_cleanup import CheckpointDirectory
from cifarsweep.worker.child.process import in_short, wait_for_any
from cifarsweep.worker.claims import TrialClaimer
from cifarsweep.worker.context import WorkerConfig, WorkerContext, worker_id
from cifarsweep.worker.crash_loop import CrashLoopDetector
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.optuna_sync import OptunaSync, sync_remaining, unfinished_notes
from cifarsweep.worker.outage import OutageBackoff
from cifarsweep.worker.signals import SignalInbox, Watchdog
from cifarsweep.worker.slot import Slot
from cifarsweep.worker.telemetry import Telemetry

#: Exit codes: 128 + the signal's number as shells count, and EX_TEMPFAIL where the database stayed away.
EXIT_TEMPFAIL = 75
#: Children die here, whatever they train: do not start this worker again before somebody has looked.
EXIT_FAULTY_HOST = 70
#: How long a stop waits for checkpoints, in seconds.
_GRACE_S = 30.0
_TICK_S = 0.25
#: How long the end of a worker waits for what is being told.
_END_OF_TELLING_S = 5.0


class Supervisor:
    """One process that owns the database handle and `slots` children."""

    def __init__(self, store: Store, plan: WorkerConfig, display: Display, trainable: EligibleStudies) -> None:
        self._store, self._plan, self._display, self._trainable = store, plan, display, trainable
        self._clock = time.monotonic
        self._patience = OutageBackoff(self._clock, display.note, plan.timing.beat_s)
        self._id = worker_id()
        self._claims = TrialClaimer(self._id, store, plan, display, trainable, self._patience, self._busy, self._clock)
        self._suspicion = CrashLoopDetector(store, self._id, self._patience, display.note)
        self._teller = OptunaSync(store)
        self._artifacts = CheckpointDirectory(str(plan.artifacts), display.note)
        self._telemetry = Telemetry(display.note, self._busy)
        self._shared = WorkerContext(
            plan=plan,
            store=store,
            display=display,
            patience=self._patience,
            suspicion=self._suspicion,
            artifacts=self._artifacts,
            telemetry=self._telemetry,
            want=self._want,
            judge=self._claims.judge,
            data=trainable,
            clock=self._clock,
        )
        self._watchdog = Watchdog(self._clock, store.abort_connections, self._desert)
        self._slots: list[Slot] = []
        self._signals = SignalInbox()
        self._stop_by: float | None = None
        self._exit_code = 0
        self._bad_machine = False
        self._beat_at = self._clock()

    def run(self) -> int:
        """Work until there is nothing left to do; return the exit code.

        Raises DeviceError where the device is not here, DataError where of what is left nothing can be trained here.
        """
        self._trainable(self._plan.studies)
        with self._signals, self._display, self._watchdog:
            try:
                self._slots = [Slot(number, self._shared) for number in range(self._plan.slots)]
                while not self._over():
                    self._turn()
            except DeviceError:
                self._bad_machine = True
                raise
            finally:
                # Children first: nothing may train for a lease that was given back.
                for slot in self._slots:
                    slot.close() if slot.idle else slot.drop()
                self._telemetry.close()
                if self._bad_machine:
                    self._suspicion.take_the_blame()
            self._leave()
        if self._claims.finished:
            with suppress(StoreUnavailable):
                self._trainable(self._plan.studies)
        return self._exit_code

    def _turn(self) -> None:
        """Hear what children say, tend leases, fill idle slots, see to the rest."""
        by_child = {slot.child: slot for slot in self._slots if slot.child is not None and slot.listening}
        for child in wait_for_any(by_child, self._timeout()):
            by_child[child].hear()
        for slot in self._slots:
            slot.tend()
        self._drop_slots()
        self._obey_signals()
        self._ride_out()
        self._doubt()
        self._fill()
        self._chores()
        self._watchdog.feed()

    def _drop_slots(self) -> None:
        """Go on with fewer slots where some have no memory to start in. Raises DeviceError where none is left."""
        for slot in [slot for slot in self._slots if slot.failure and slot.attempt is None]:
            self._slots.remove(slot)
            if not self._slots:
                raise DeviceError(f"the training process does not start on this machine: {slot.failure}")
            why, left = in_short(slot.failure), len(self._slots)
            self._display.note(f"slot {slot.number} ends, its training process does not start: {why}; {left} go on")

    def _timeout(self) -> float:
        """No wait where an idle slot may look for a trial right now."""
        may_claim = (
            any(slot.idle for slot in self._slots) and not self._stopping and self._claims.look_at <= self._clock()
        )
        return 0.0 if may_claim and not self._spent else _TICK_S

    @property
    def _stopping(self) -> bool:
        return self._stop_by is not None

    @property
    def _spent(self) -> bool:
        most = self._plan.max_trials
        return most is not None and sum(slot.claims for slot in self._slots) >= most

    def _over(self) -> bool:
        if self._stop_by is not None:
            return not self._busy() or self._clock() > self._stop_by
        return not self._busy() and (self._claims.finished or self._spent)

    def _busy(self) -> int:
        return sum(slot.attempt is not None for slot in self._slots)

    def _fill(self) -> None:
        """Claim a trial for every idle slot."""
        if self._stopping or self._claims.look_at > self._clock() or not self._patience.may_try():
            return
        for slot in self._slots:
            if slot.idle and not self._spent:
                try:
                    lease = self._claims.next_for(slot)
                except StoreUnavailable as error:
                    self._patience.failed(error)
                    return
                if lease is None:
                    break
                slot.take(lease)

    def _want(self, number: int) -> ClaimRequest | None:
        ready = next((slot.ready for slot in self._slots if slot.number == number), None)
        return None if self._stopping or self._spent or ready is None else self._claims.want(number, ready)

    def _chores(self) -> None:
        """Once a beat: show that we live, and pass on to Optuna what is finished."""
        if self._clock() - self._beat_at < self._plan.timing.beat_s or not self._patience.may_try():
            return
        self._beat_at = self._clock()
        try:
            if self._claims.registered:
                self._store.queue.beat_worker(self._id)
            self._teller.nudge()
        except StoreUnavailable as error:
            self._patience.failed(error)

    def _ride_out(self) -> None:
        """Give up on a database that stayed away for half an hour."""
        if self._patience.exhausted and not self._stopping:
            self._display.note(
                "the database has been away for 30 minutes: stopping; trials go on from their checkpoints"
            )
            self._exit_code = EXIT_TEMPFAIL
            self._stop()

    def _doubt(self) -> None:
        """Stop where it is the machine that takes children down."""
        if not self._stopping and self._suspicion.convicts():
            self._bad_machine, self._exit_code = True, EXIT_FAULTY_HOST
            self._stop()

    def _stop(self) -> None:
        self._stop_by = self._clock() + _GRACE_S
        self._patience.hurry()
        for slot in self._slots:
            slot.leaving = True
            slot.ask_to_stop()

    def _obey_signals(self) -> None:
        if not self._signals.heard:
            return
        if not self._stopping:
            self._display.note("stopping: writing checkpoints and giving the leases back (once more: at once)")
            self._exit_code = 128 + self._signals.heard[0]
            self._stop()
        elif self._signals.asked_twice:
            self._stop_by = float("-inf")

    def _desert(self) -> None:
        """End at once, from beside a main loop that stands still; the children must not outlive us."""
        for slot in self._slots:
            slot.kill()
        text = "the database does not answer: trials are free when their leases end\n"
        os.write(2, text.encode())
        os._exit(128 + self._watchdog.first_signal)

    def _leave(self) -> None:
        """Complete Optuna's view, which others may be at as well, and sign off."""
        self._artifacts.close()
        self._claims.name_the_left()
        try:
            if self._claims.finished:
                self._name_what_is_left()
            self._teller.wait(_END_OF_TELLING_S)
            sync_remaining(self._store, self._hurried)
            if self._claims.registered:
                self._store.queue.end_worker(self._id)
        except StoreUnavailable as error:
            self._display.note(f"could not sign off: {error}")

    def _name_what_is_left(self) -> None:
        wanted = self._plan.studies
        for text in unfinished_notes(
            [each for each in self._store.studies.status() if not wanted or each.study in wanted]
        ):
            self._display.note(text)

    def _hurried(self) -> bool:
        self._watchdog.feed()
        return bool(self._signals.heard)
