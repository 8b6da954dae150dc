"""Tells people of events, in threads: a study is over, a trial was given up, a machine is bad.

No trial waits for it. What can't be told after a few tries is logged, and costs nothing else.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any, Self

from cifarsweep.errors import CifarsweepError, StoreUnavailable
from cifarsweep.formatting import plural
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.store.notices import MOST_TRIALS, StudyOver, Watch, given_up
from cifarsweep.store.records import Lease
from cifarsweep.worker.notify_targets import NotTold, Target

logger = logging.getLogger(__name__)

SCHEMA = "event/1"
#: Pauses between tries to tell one target. Seconds.
_PAUSES_S = (1.0, 4.0)
#: How long a worker that ends waits for what is still to tell. Seconds.
GRACE_S = 15.0
_LONGEST_ERROR = 300


class Notifier:
    """Tells the targets, each in a thread of its own; without any it does nothing, and has no thread."""

    def __init__(self, store: Store, targets: Sequence[Target], worker_id: str) -> None:
        # A target that is given twice is told once.
        self._tellers = [_Teller(store, target, worker_id) for target in {one.key: one for one in targets}.values()]

    def __enter__(self) -> Self:
        # Others may have been killed before they told an end.
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        """Look for the last time, and wait a while for what is still to tell."""
        for teller in self._tellers:
            teller.end()
        deadline = time.monotonic() + GRACE_S
        for teller in self._tellers:
            teller.join(deadline)

    def watch(self, study: str) -> None:
        """Tell when the study is over; if this worker is killed, another one with the same target does."""
        for teller in self._tellers:
            teller.watch(study)

    def look(self) -> None:
        """Look whether studies are over of which these targets are to be told, whoever trained their trials."""
        for teller in self._tellers:
            teller.look()

    def on_given_up(self, lease: Lease, error: str) -> None:
        """Tell that a trial was given up, unless several of its study were told already."""
        for teller in self._tellers:
            teller.later(partial(teller.tell_given_up, lease, error))

    def on_bad_machine(self, reason: str) -> None:
        """Tell that this machine is bad, once a day."""
        for teller in self._tellers:
            teller.later(partial(teller.tell_bad_machine, reason))


class _Teller:
    """Tells one target: another one that hangs must not keep it waiting."""

    def __init__(self, store: Store, target: Target, worker_id: str) -> None:
        self._store, self._target, self._id = store, target, worker_id
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        #: Studies that this worker has trained for, until they are over.
        self._studies: set[str] = set()

    def end(self) -> None:
        """Look for the last time."""
        self.later(self._look)
        self._jobs.put(None)

    def join(self, deadline: float) -> None:
        """Wait for what is still to tell, until that moment of the monotonic clock."""
        if self._thread is None:
            return
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        if self._thread.is_alive():
            logger.warning(
                f"{self._target.shown} has not answered yet, and this worker ends: it may not have been told"
            )

    def watch(self, study: str) -> None:
        if study not in self._studies:
            self._studies.add(study)
            self.later(self._look)

    def look(self) -> None:
        if self._jobs.empty():
            self.later(self._look)

    def later(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if self._thread is None:
            # A daemon thread: an address that hangs must not block the worker's exit.
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except StoreUnavailable:
                continue  # studies are looked at again with the next beat
            except CifarsweepError as error:
                logger.warning(f"nobody was told: {error}")

    def _look(self) -> None:
        notices, key = self._store.notices, self._target.key
        watched = notices.watched([key])
        new = {Watch(study, key) for study in list(self._studies)} - watched
        if new:
            notices.watch(new)
        for one in sorted(watched | new):
            over = notices.study_over(one.study)
            if over is None:
                continue
            # Before `end_watch`: whoever takes a trial of the study from now on watches it again.
            self._studies.discard(one.study)
            event = f"{key}:{over.event}"
            if notices.claim(event):
                self._tell(event, "study-done", _over_text(over), **_over_fields(over))
            notices.end_watch(one, event)

    def tell_given_up(self, lease: Lease, error: str) -> None:
        name, why = f"{lease.study}/{lease.number}", error.splitlines()[0] if error else "no reason is known"
        text = f"{name} ({lease.cell}, seed {lease.seed}) was given up: {why[:_LONGEST_ERROR]}"
        last = f". No other trial of {lease.study} is told one by one"
        known = {"study": lease.study, "trial": lease.number, "cell": lease.cell, "seed": lease.seed, "error": why}
        number = self._store.notices.claim_trial(lease, self._target.key)
        if number is not None:
            whole = text + last * (number == MOST_TRIALS)
            self._tell(given_up(lease, self._target.key), "trial-given-up", whole, **known)

    def tell_bad_machine(self, reason: str) -> None:
        host, why = socket.gethostname(), reason.splitlines()[0][:_LONGEST_ERROR]
        event = f"{self._target.key}:bad machine:{datetime.now(UTC):%Y-%m-%d}:{host}"
        try:
            mine = self._store.notices.claim(event)
        except StoreUnavailable:
            mine = True  # rather twice than not at all
        if mine:
            self._tell(event, "machine-bad", f"{host} takes no more trials: {why}", error=why)

    def _tell(self, event: str, kind: str, text: str, **fields: Any) -> None:
        moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        about = {"schema": SCHEMA, "event": kind, "text": slack_text(text), "at": moment}
        _tell_one(self._target, about | fields | {"host": socket.gethostname(), "worker": self._id})
        self._store.notices.told(event)


def slack_text(text: str) -> str:
    """Return the text as Slack reads it: of a name it makes no link and calls nobody.

    The three signs are those of https://docs.slack.dev/messaging/formatting-message-text.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tell_one(target: Target, event: Mapping[str, Any]) -> None:
    for pause in (*_PAUSES_S, None):
        try:
            target.tell(event)
            return
        except NotTold as error:
            if pause is None:
                logger.warning(f"{target.shown} was not told of {event['event']}: {error}")
                return
            time.sleep(pause)


def _over_text(over: StudyOver) -> str:
    count = sum(over.trials.values())
    ends = [f"{number:,} {state}" for state, number in over.trials.items() if number and state is not TrialState.DONE]
    done = f"{over.trials[TrialState.DONE]:,} of {plural(count, 'trial')} done"
    return f"{over.study} is over: {', '.join([done, *ends])}. `cifarsweep report {over.study}` says what was found"


def _over_fields(over: StudyOver) -> dict[str, Any]:
    counts = {str(state): number for state, number in over.trials.items()}
    return {"study": over.study, "trials": counts, "training_s": round(over.done_s, 1)}
