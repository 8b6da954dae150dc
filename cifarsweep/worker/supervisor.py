"""The supervisor: claims trials, sends them to children, records what they report."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress

from cifarsweep.errors import DeviceError, StoreUnavailable, TooFewGpus
from cifarsweep.store import Store
from cifarsweep.store.records import ClaimRequest
from cifarsweep.worker.branches import free_branches
from cifarsweep.worker.checkpoint_cleanup import CheckpointDirectory
from cifarsweep.worker.child.process import one_line, wait_for_any
from cifarsweep.worker.claims import TrialClaimer
from cifarsweep.worker.context import WorkerConfig, WorkerContext, worker_id
from cifarsweep.worker.crash_loop import CrashLoopDetector
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.notify import Notifier
from cifarsweep.worker.optuna_sync import OptunaSync, sync_remaining, unfinished_notes
from cifarsweep.worker.outage import OutageBackoff
from cifarsweep.worker.signals import SignalInbox, Watchdog
from cifarsweep.worker.slot import Slot
from cifarsweep.worker.tally import Tally
from cifarsweep.worker.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: EX_TEMPFAIL: the database stayed away. After a signal the exit code is 128 + its number, as in shells.
EXIT_TEMPFAIL = 75
#: Children crash on this host whatever they train: do not restart the worker before the host has been checked.
EXIT_FAULTY_HOST = 70
#: How long a stop waits for checkpoints, in seconds.
_GRACE_S = 30.0
_TICK_S = 0.25
#: How long the shutdown waits for an Optuna sync under way. Seconds.
_SYNC_GRACE_S = 5.0


class Supervisor:
    """One process that owns the database handle and `slots` children."""

    def __init__(self, store: Store, config: WorkerConfig, display: Display, eligible: EligibleStudies) -> None:
        self._store, self._config, self._display, self._eligible = store, config, display, eligible
        self._clock = time.monotonic
        self._backoff = OutageBackoff(self._clock, config.timing.beat_s)
        self._id = worker_id()
        self._claims = TrialClaimer(
            self._id, store, config, display, eligible, self._backoff, self._count_busy, self._clock
        )
        self._crash_loop = CrashLoopDetector(store, self._id, self._backoff)
        self._optuna_sync = OptunaSync(store)
        self._checkpoints = CheckpointDirectory(str(config.artifacts), config.keep_checkpoints)
        self._telemetry = Telemetry(self._count_busy)
        self._tally = Tally(self._clock)
        self._notifier = Notifier(store, config.notify, self._id)
        self._context = WorkerContext(
            config=config,
            store=store,
            display=display,
            backoff=self._backoff,
            crash_loop=self._crash_loop,
            checkpoints=self._checkpoints,
            telemetry=self._telemetry,
            tally=self._tally,
            notifier=self._notifier,
            claim_request=self._claim_request,
            pruning_decider=self._claims.pruning_decider,
            eligible=eligible,
            clock=self._clock,
        )
        self._watchdog = Watchdog(self._clock, store.abort_connections, self._exit_now)
        self._slots: list[Slot] = []
        self._signals = SignalInbox()
        self._stop_by: float | None = None
        self._exit_code = 0
        self._host_is_faulty = False
        self._last_heartbeat = self._clock()

    def run(self) -> int:
        """Work until nothing is left to do; return the exit code.

        Raises DeviceError if the device is not here, DataError if nothing of what is left can be trained here.
        """
        if not self._eligible(self._config.studies) and self._config.runs_programs:
            logger.info("no unfinished study has the digest of a program here; `cifarsweep create FILE` makes one")
        with self._signals, self._display, self._watchdog, self._notifier:
            try:
                self._slots = [Slot(number, self._context) for number in range(self._config.slots)]
                while not self._is_done():
                    self._run_once()
            except DeviceError as error:
                self._host_is_faulty = True
                self._notifier.on_bad_machine(str(error))
                raise
            finally:
                # 1. End children before their leases are released: nothing may train without a lease.
                for slot in self._slots:
                    slot.close() if slot.idle else slot.abandon()
                # 2. Stop sampling the children that are gone.
                self._telemetry.close()
                # 3. Take back what a faulty host did to trials, before other workers give them up.
                if self._host_is_faulty:
                    self._crash_loop.retract_crashes()
            self._shut_down()
        if self._claims.finished:
            # What takes more GPUs is for other workers, and no failure of this one, which has done its part.
            with suppress(StoreUnavailable, TooFewGpus):
                self._eligible(self._config.studies)
        logger.info(self._tally.text())
        return self._exit_code

    def _run_once(self) -> None:
        """Read events, renew leases, check what may end the worker, claim trials for idle slots."""
        by_child = {slot.child: slot for slot in self._slots if slot.child is not None and slot.accepts_events}
        for child in wait_for_any(by_child, self._timeout()):
            by_child[child].read_events()
        for slot in self._slots:
            slot.poll()
        self._remove_failed_slots()
        self._handle_signals()
        self._check_outage()
        self._check_crash_loop()
        self._claim_trials()
        self._heartbeat()
        self._watchdog.feed()

    def _remove_failed_slots(self) -> None:
        """Remove slots whose children do not start, for want of memory. Raises DeviceError if none is left."""
        for slot in [slot for slot in self._slots if slot.failure and slot.attempt is None]:
            self._slots.remove(slot)
            if not self._slots:
                raise DeviceError(f"the training process does not start on this machine: {slot.failure}")
            why, left = one_line(slot.failure), len(self._slots)
            logger.warning(f"slot {slot.number} ends, its training process does not start: {why}; {left} go on")

    def _timeout(self) -> float:
        """Return how long to wait for events: not at all if an idle slot may claim now, or end a trial by reuse."""
        if any(slot.reuses for slot in self._slots) and self._backoff.ready():
            return 0.0
        may_claim = (
            any(slot.idle for slot in self._slots) and not self._stopping and self._claims.next_poll_at <= self._clock()
        )
        return 0.0 if may_claim and not self._claim_limit_reached else _TICK_S

    @property
    def _stopping(self) -> bool:
        return self._stop_by is not None

    @property
    def _claim_limit_reached(self) -> bool:
        most = self._config.max_trials
        return most is not None and sum(slot.trials_taken for slot in self._slots) >= most

    def _is_done(self) -> bool:
        if self._stop_by is not None:
            return not self._count_busy() or self._clock() > self._stop_by
        return not self._count_busy() and (self._claims.finished or self._claim_limit_reached)

    def _count_busy(self) -> int:
        return sum(slot.attempt is not None for slot in self._slots)

    def _claim_trials(self) -> None:
        """Claim a trial for every idle slot."""
        if self._stopping or self._claims.next_poll_at > self._clock() or not self._backoff.ready():
            return
        for slot in self._slots:
            if slot.idle and not self._claim_limit_reached:
                try:
                    lease = self._claims.claim_for(slot)
                except StoreUnavailable as error:
                    self._backoff.record_failure(error)
                    return
                if lease is None:
                    break
                slot.start_trial(lease)

    def _claim_request(self, number: int) -> ClaimRequest | None:
        ready = next((slot.ready for slot in self._slots if slot.number == number), None)
        if self._stopping or self._claim_limit_reached or ready is None:
            return None
        return self._claims.claim_request(number, ready)

    def _heartbeat(self) -> None:
        """Renew the worker's heartbeat and sync Optuna, once a beat."""
        if self._clock() - self._last_heartbeat < self._config.timing.beat_s or not self._backoff.ready():
            return
        self._last_heartbeat = self._clock()
        try:
            if self._claims.registered:
                self._store.queue.beat_worker(self._id)
            self._optuna_sync.trigger()
            self._notifier.look()
        except StoreUnavailable as error:
            self._backoff.record_failure(error)

    def _check_outage(self) -> None:
        """Stop when the database has been away for half an hour."""
        if self._backoff.gave_up and not self._stopping:
            logger.warning("the database has been away for 30 minutes: stopping; trials go on from their checkpoints")
            self._exit_code = EXIT_TEMPFAIL
            self._stop()

    def _check_crash_loop(self) -> None:
        """Stop if the host is at fault for its crashes."""
        if not self._stopping and self._crash_loop.host_is_faulty():
            self._host_is_faulty, self._exit_code = True, EXIT_FAULTY_HOST
            self._notifier.on_bad_machine(self._crash_loop.reason)
            self._stop()

    def _stop(self) -> None:
        """Ask all children to save and stop; the main loop goes on until they have, at most for the grace period."""
        self._stop_by = self._clock() + _GRACE_S
        self._backoff.shorten()
        for slot in self._slots:
            slot.shutting_down = True
            slot.request_stop()

    def _handle_signals(self) -> None:
        if not self._signals.heard:
            return
        if not self._stopping:
            logger.info("stopping: writing checkpoints and giving the leases back (once more: at once)")
            self._exit_code = 128 + self._signals.heard[0]
            self._stop()
        elif self._signals.asked_twice:
            self._stop_by = float("-inf")

    def _exit_now(self) -> None:
        """End the process from the watchdog's thread while the main loop hangs; children must not survive it."""
        for slot in self._slots:
            slot.kill()
        text = "the database does not answer: trials are free when their leases end\n"
        os.write(2, text.encode())
        os._exit(128 + self._watchdog.first_signal)

    def _shut_down(self) -> None:
        """Finish what outlives the children, in an order in which the database is needed last."""
        # 4. Finish removing checkpoints that the ends of trials have superseded, and those that no trial begins from.
        free_branches(self._context)
        self._checkpoints.close()
        # 5. Log what is left and why.
        self._claims.log_untakable()
        try:
            if self._claims.finished:
                self._log_unfinished()
            # 6. Sync Optuna: first the thread's own sync, then the rest, which other workers may be syncing too.
            self._optuna_sync.join(_SYNC_GRACE_S)
            sync_remaining(self._store, self._stop_requested)
            # 7. Sign off last: until then the worker counts as alive.
            if self._claims.registered:
                self._store.queue.end_worker(self._id)
        except StoreUnavailable as error:
            logger.warning(f"could not sign off: {error}")

    def _log_unfinished(self) -> None:
        wanted, statuses = self._config.studies, self._store.studies.status()
        found = [status for status in statuses if not wanted or status.study in wanted]
        for text in unfinished_notes(found, set(wanted) or self._claims.served):
            logger.warning(text)

    def _stop_requested(self) -> bool:
        self._watchdog.feed()
        return bool(self._signals.heard)
