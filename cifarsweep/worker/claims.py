"""Which trial a slot takes next."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from cifarsweep.errors import DataError, SpecError, StudyRefused, UnreadableStudy
from cifarsweep.spec.devices import device_text
from cifarsweep.spec.provenance import DEVICE, without_data
from cifarsweep.spec.settings import Settings
from cifarsweep.store import Store
from cifarsweep.store.records import ClaimRequest, Environment, Identify, Lease, WorkerInfo
from cifarsweep.training.identity import rows_identity
from cifarsweep.worker.child.protocol import Ready
from cifarsweep.worker.context import WorkerConfig, versions
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.outage import OutageBackoff
from cifarsweep.worker.polling import PollPauses
from cifarsweep.worker.precheck import training_images
from cifarsweep.worker.search import SearchClient
from cifarsweep.worker.sensors import faster_precision
from cifarsweep.worker.slot import Slot

logger = logging.getLogger(__name__)

#: How long a list of studies is used. Seconds.
_STUDIES_LAST_S = 1.0


class TrialClaimer:
    """Claims trials for the slots of one worker.

    `eligible` is evaluated again at every poll, since studies may be added while the worker waits. `busy` counts the
    trials under way. `finished` is True once nothing is left to do; `next_poll_at` is the time of the next poll.
    """

    def __init__(
        self,
        worker_id: str,
        store: Store,
        config: WorkerConfig,
        display: Display,
        eligible: EligibleStudies,
        backoff: OutageBackoff,
        busy: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._id, self._store, self._config, self._display = worker_id, store, config, display
        self._eligible, self._backoff, self._busy, self._clock = eligible, backoff, busy, clock
        self._search = SearchClient(store)
        self.pruning_decider = self._search.pruning_decider
        self.finished = False
        self.next_poll_at = clock()
        self._pauses = PollPauses(config.timing.beat_s)
        #: What the database holds on this worker.
        self.registered: WorkerInfo | None = None
        self._studies: Sequence[str] = ()
        self._studies_found_at = float("-inf")
        #: All studies that it has claimed from.
        self.served: set[str] = set()
        #: Whether work is left, but none that this machine can do.
        self._all_refused = False
        self._logged: set[str] = set()

    def claim_for(self, slot: Slot) -> Lease | None:
        """Claim a trial for an idle slot; None if none is due now. Raises StoreUnavailable and DataError."""
        assert slot.ready is not None
        self._eligible.on_ready(slot.ready)
        studies = self._current_studies()
        self._register(slot.ready)
        lease = self._claim(studies, slot.number, slot.ready)
        asked = lease is None and self._search.add_next_point(studies)
        if asked:
            lease = self._claim(studies, slot.number, slot.ready)
        self._backoff.record_success()
        self.log_untakable()
        if lease is not None:
            self._pauses.reset()
        else:
            self.next_poll_at = self._clock() + self._pauses.next(alone=self._store.queue.checked_leases)
            nothing_left = bool(studies) or not self._all_refused
            self.finished = nothing_left and not (asked or self._config.wait) and not self._is_left(studies)
        return lease

    def _is_left(self, studies: Sequence[str]) -> bool:
        """Whether there is a trial to stay for."""
        return self._store.queue.has_unfinished(studies, queued_only=self._config.while_queued)

    def claim_request(self, number: int, ready: Ready) -> ClaimRequest | None:
        """Return a request for the slot's next trial, to be claimed in one transaction with the end of its current one.

        None once the list of studies is a second old: the slot then waits for `claim_for`, which reads it again.
        """
        fresh = self._clock() - self._studies_found_at < _STUDIES_LAST_S and not self._eligible.outdated
        if not (fresh and self._studies):
            return None
        return ClaimRequest(self._id, self._studies, number, self._environment(ready), self._identify(ready))

    def log_untakable(self) -> None:
        """Log once for each trial that no worker can take why that is."""
        for sentence in self._store.queue.skipped:
            if sentence not in self._logged:
                self._logged.add(sentence)
                logger.warning(f"{sentence}; no worker takes it")

    def _claim(self, studies: Sequence[str], number: int, ready: Ready) -> Lease | None:
        if not studies:
            self._store.queue.check_leases()
            return None
        try:
            environment, identify = self._environment(ready), self._identify(ready)
            return self._store.queue.claim(
                self._id, studies=studies, slot=number, environment=environment, identify=identify
            )
        except StudyRefused as error:
            self._eligible.on_refused(error)
            return None

    def _environment(self, ready: Ready) -> Environment:
        """Return the environment that a slot's child trains in."""
        data, other_data = dict(self._eligible.digests), self._eligible.other_data
        mine, registered = versions(ready.versions, {}), self.registered
        if registered is not None and (registered.device, without_data(registered.versions)) == (ready.device, mine):
            return Environment(data, other_data=other_data)
        # A child that another slot started after an upgrade of torch has changed the worker's registered versions.
        return Environment(data, ready.device, mine, other_data)

    def _identify(self, ready: Ready) -> Identify | None:
        """Return what tells the identities of trials that the slot's child trains; None without reuse."""
        if not self._config.reuse:
            return None
        environment = {DEVICE: ready.device, **versions(ready.versions, {})}

        def identify(lease: Lease, steps: int | None) -> str | None:
            return self._identity(lease, steps, environment)

        return identify

    def _identity(self, lease: Lease, steps: int | None, environment: Mapping[str, str]) -> str | None:
        """Return the identity of the first `steps` steps of a trial, or of all; None where it is not known."""
        settings, found = lease.settings, self._eligible.data_set(lease.dataset)
        if not isinstance(settings, Settings) or found is None or found.sha256 != lease.data_sha256:
            return None
        images = training_images(settings, found)
        try:
            return rows_identity(settings, lease.seed, images, found.sha256, environment, steps) if images else None
        except SpecError:  # it can't be trained on so many images, and the child says why
            return None

    def _current_studies(self) -> Sequence[str]:
        """Return the studies to claim from, read at most once a second."""
        if self._clock() - self._studies_found_at >= _STUDIES_LAST_S or self._eligible.outdated:
            self._studies = self._find_studies()
            self.served.update(self._studies)
            self._studies_found_at = self._clock()
        return self._studies

    def _find_studies(self) -> Sequence[str]:
        self._all_refused = False
        try:
            return self._eligible(self._config.studies)
        except (DataError, UnreadableStudy) as error:
            # A waiting worker stays although a study came without its images, and trials under way come to their
            # end on the images that they began with.
            if not self._config.wait and not self._busy():
                raise
            self._all_refused = True
            self._eligible.log_once(str(error))
            return ()

    def _register(self, ready: Ready) -> None:
        """Register the worker, and again when its device, versions or data sets have changed."""
        info = WorkerInfo(
            worker_id=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=ready.device,
            slots=self._config.slots,
            versions=versions(ready.versions, self._eligible.digests),
        )
        if info != self.registered:
            self._store.queue.register_worker(info)
            if self.registered is None:
                programs, count = self._config.runs_programs, max(1, len(ready.gpus))
                # The device of a program has its number in it.
                device = info.device if programs else device_text(info.device, count, ready.versions)
                self._display.ready(device, "" if ready.gpus or programs else faster_precision())
            self.registered = info
