"""The supervisor: claims trials, hands them to children, records what they report. Imports no torch."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any

from cifarsweep.errors import DataError, DeviceError, StoreUnavailable, StudyRefused, UnreadableStudy
from cifarsweep.spec.provenance import without_data
from cifarsweep.store import Store
from cifarsweep.store.records import Environment, Lease, Want, WorkerInfo
from cifarsweep.worker import machine
from cifarsweep.worker.artifacts import Artifacts
from cifarsweep.worker.display import Display
from cifarsweep.worker.farewell import tell_all, what_is_left
from cifarsweep.worker.patience import Patience
from cifarsweep.worker.plan import Plan, Shared
from cifarsweep.worker.process import in_short
from cifarsweep.worker.processor import faster_precision
from cifarsweep.worker.searching import Searching
from cifarsweep.worker.slot import Slot
from cifarsweep.worker.suspicion import Suspicion
from cifarsweep.worker.telemetry import Telemetry
from cifarsweep.worker.telling import Teller
from cifarsweep.worker.trainable import Trainable
from cifarsweep.worker.watchdog import Watchdog

#: Exit codes: 128 + the signal's number as shells count, and EX_TEMPFAIL where the database stayed away.
EXIT_TEMPFAIL = 75
#: Children die here, whatever they train: do not start this worker again before somebody has looked.
EXIT_BAD_MACHINE = 70
#: How long a stop waits for checkpoints, and a look for new trials for the next look, in seconds.
_GRACE_S = 30.0
_LOOK_EVERY_S = 1.0
_TICK_S = 0.25
#: How long the end of a worker waits for what is being told.
_END_OF_TELLING_S = 5.0
#: Signals of people, whose second means at once; those of batch systems and of `launch` come as often as they like.
_BY_HAND = (signal.SIGINT, signal.SIGTERM)
_POLITE = (signal.SIGUSR1, signal.SIGUSR2)


class Supervisor:
    """One process that owns the database handle and `slots` children.

    `trainable` is asked again at every look, since studies may come while the worker waits.
    """

    def __init__(self, store: Store, plan: Plan, display: Display, trainable: Trainable) -> None:
        self._store, self._plan, self._display, self._trainable = store, plan, display, trainable
        self._clock = time.monotonic
        self._patience = Patience(self._clock, display.note, plan.timing.beat_s)
        self._id = machine.worker_id()
        self._suspicion = Suspicion(store, self._id, self._patience, display.note)
        self._searching = Searching(store, display.note)
        self._teller = Teller(store)
        self._artifacts = Artifacts(str(plan.artifacts), display.note)
        self._telemetry = Telemetry(display.note, self._busy)
        self._shared = Shared(
            plan=plan,
            store=store,
            display=display,
            patience=self._patience,
            suspicion=self._suspicion,
            artifacts=self._artifacts,
            telemetry=self._telemetry,
            want=self._want,
            judge=self._searching.judge,
            data=trainable,
            clock=self._clock,
        )
        self._watchdog = Watchdog(self._clock, store.hang_up, self._desert, _BY_HAND)
        self._slots: list[Slot] = []
        self._signals: list[int] = []
        self._stop_by: float | None = None
        self._finished = False
        self._registered: WorkerInfo | None = None
        self._exit_code = 0
        self._bad_machine = False
        self._studies: Sequence[str] = ()
        #: Whether there is work left of which this machine can do none.
        self._refused = False
        self._named: set[str] = set()
        self._look_at = self._beat_at = self._clock()
        self._studies_at = float("-inf")

    def run(self) -> int:
        """Work until there is nothing left to do; return the exit code.

        Raises DeviceError where the device is not here, DataError where of what is left nothing can be trained here.
        """
        self._trainable(self._plan.studies)
        with self._listening_to_signals(), self._display, self._watched():
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
        if self._finished:
            with suppress(StoreUnavailable):
                self._trainable(self._plan.studies)
        return self._exit_code

    def _turn(self) -> None:
        """Hear what children say, tend leases, fill idle slots, see to the rest."""
        by_pipe = {slot.child.fileno(): slot for slot in self._slots if slot.child is not None and slot.listening}
        pipes: list[Any] = list(by_pipe)
        for pipe in wait(pipes, timeout=self._timeout()):
            by_pipe[pipe].hear()  # type: ignore[index]
        for slot in self._slots:
            slot.tend()
        self._drop_slots()
        self._obey_signals()
        self._ride_out()
        self._doubt()
        self._fill()
        self._chores()
        self._watchdog.turned()

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
        may_claim = any(slot.idle for slot in self._slots) and not self._stopping and self._look_at <= self._clock()
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
        return not self._busy() and (self._finished or self._spent)

    def _busy(self) -> int:
        return sum(slot.attempt is not None for slot in self._slots)

    def _fill(self) -> None:
        """Claim a trial for every idle slot."""
        if self._stopping or self._look_at > self._clock() or not self._patience.may_try():
            return
        for slot in self._slots:
            if slot.idle and not self._spent:
                try:
                    if not self._claim_for(slot):
                        break
                except StoreUnavailable as error:
                    self._patience.failed(error)
                    return

    def _claim_for(self, slot: Slot) -> bool:
        studies = self._fresh_studies()
        self._register(slot)
        lease = self._claim(studies, slot)
        asked = lease is None and self._searching.ask(studies)
        if asked:
            lease = self._claim(studies, slot)
        self._patience.succeeded()
        self._name_the_left()
        if lease is None:
            self._look_at = self._clock() + _LOOK_EVERY_S
            nothing_left = bool(studies) or not self._refused
            self._finished = nothing_left and not (asked or self._plan.wait) and self._store.unfinished(studies) == 0
            return False
        slot.take(lease)
        return True

    def _claim(self, studies: Sequence[str], slot: Slot) -> Lease | None:
        if not studies:
            return None
        try:
            return self._store.claim(
                self._id, studies=studies, slot=slot.number, environment=self._environment(slot.number)
            )
        except StudyRefused as error:
            self._trainable.reconsider(error)
            return None

    def _environment(self, slot: int) -> Environment | None:
        """What the slot's child trains with; None where that is not known yet, and then nothing may be claimed."""
        ready = next((each.ready for each in self._slots if each.number == slot), None)
        if ready is None:
            return None
        data, other_data = dict(self._trainable.digests), self._trainable.other_data
        mine, told = machine.versions(ready.versions, {}), self._registered
        if told is not None and (told.device, without_data(told.versions)) == (ready.device, mine):
            return Environment(data, other_data=other_data)
        # The child of another slot began after an upgrade of torch, and its versions are the worker's now.
        return Environment(data, ready.device, mine, other_data)

    def _name_the_left(self) -> None:
        """Say once of each trial that nobody can take why that is."""
        for sentence in self._store.left:
            if sentence not in self._named:
                self._named.add(sentence)
                self._display.note(f"{sentence}; no worker takes it")

    def _want(self, slot: int) -> Want | None:
        """The next trial for a slot whose trial is done, in one transaction with its end.

        Only while we know what can be trained here: once a second the slot waits for `_fill`, which looks again.
        """
        fresh = self._clock() - self._studies_at < _LOOK_EVERY_S and not self._trainable.outdated
        environment = self._environment(slot)
        if self._stopping or self._spent or environment is None or not (fresh and self._studies):
            return None
        return Want(self._id, self._studies, slot, environment)

    def _fresh_studies(self) -> Sequence[str]:
        """The studies to claim from, looked up about once a second rather than for every trial."""
        if self._clock() - self._studies_at >= _LOOK_EVERY_S or self._trainable.outdated:
            self._studies = self._look_for_studies()
            self._studies_at = self._clock()
        return self._studies

    def _look_for_studies(self) -> Sequence[str]:
        self._refused = False
        try:
            return self._trainable(self._plan.studies)
        except (DataError, UnreadableStudy) as error:
            # Who waits for studies to come need not leave because one came without its images; and what trains on
            # images that were here when it began may come to its end.
            if not self._plan.wait and not self._busy():
                raise
            self._refused = True
            self._trainable.note_once(str(error))
            return ()

    def _register(self, slot: Slot) -> None:
        """Tell the database who we are, and again when a data set came into use."""
        assert slot.ready is not None
        info = WorkerInfo(
            worker_id=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=slot.ready.device,
            slots=self._plan.slots,
            versions=machine.versions(slot.ready.versions, self._trainable.digests),
        )
        if info != self._registered:
            self._store.register_worker(info)
            if self._registered is None:
                self._display.ready(info.device, "" if slot.ready.gpu else faster_precision())
            self._registered = info

    def _chores(self) -> None:
        """Once a beat: show that we live, and pass on to Optuna what is finished."""
        if self._clock() - self._beat_at < self._plan.timing.beat_s or not self._patience.may_try():
            return
        self._beat_at = self._clock()
        try:
            if self._registered:
                self._store.beat_worker(self._id)
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
            self._bad_machine, self._exit_code = True, EXIT_BAD_MACHINE
            self._stop()

    def _stop(self) -> None:
        self._stop_by = self._clock() + _GRACE_S
        self._patience.hurry()
        for slot in self._slots:
            slot.leaving = True
            slot.ask_to_stop()

    def _obey_signals(self) -> None:
        if not self._signals:
            return
        if not self._stopping:
            self._display.note("stopping: writing checkpoints and giving the leases back (once more: at once)")
            self._exit_code = 128 + self._signals[0]
            self._stop()
        elif sum(number in _BY_HAND for number in self._signals) > 1:
            self._stop_by = float("-inf")

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        def heard(number: int, _frame: object) -> None:
            self._signals.append(number)

        before = {number: signal.signal(number, heard) for number in _BY_HAND + _POLITE}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._watchdog.start()
        try:
            yield
        finally:
            self._watchdog.stop()

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
        self._name_the_left()
        try:
            if self._finished:
                self._name_what_is_left()
            self._teller.wait(_END_OF_TELLING_S)
            tell_all(self._store, self._hurried)
            if self._registered:
                self._store.end_worker(self._id)
        except StoreUnavailable as error:
            self._display.note(f"could not sign off: {error}")

    def _name_what_is_left(self) -> None:
        wanted = self._plan.studies
        for text in what_is_left([each for each in self._store.status() if not wanted or each.study in wanted]):
            self._display.note(text)

    def _hurried(self) -> bool:
        self._watchdog.turned()
        return bool(self._signals)
