"""The message that open pages get every two seconds: texts and small numbers, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cifarsweep.dashboard.page_cache import index_stamp
from cifarsweep.formatting import plural, timestamp, trial_counts, value_text
from cifarsweep.report.render import INDEX, page_name
from cifarsweep.spec.metrics import EPOCH, TRAIN_LOSS, VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.store.live_trials import LiveTrial
from cifarsweep.store.status import LiveWorker, RecentError, Snapshot
from cifarsweep.store.status_records import StudyStatus, WorkerStatus
from cifarsweep.text import page_texts

#: As much of an error's text as a list shows; all of it stands on the study's page.
_MOST = 300
#: Three beats of a worker, unless they were set otherwise.
_SILENT_S = 30.0


def message(snapshot: Snapshot) -> dict[str, Any]:
    """All of it; a page picks what it shows."""
    running = [
        _running(status.study, held, snapshot.running[status.study, held.trial])
        for status in snapshot.studies
        for held in status.workers
        if (status.study, held.trial) in snapshot.running
    ]
    pages = {page_name(status.study): snapshot.fingerprints[status.study] for status in snapshot.studies}
    state = {
        "stamps": {INDEX: index_stamp(snapshot.fingerprints)} | pages,
        "studies": {status.study: _study(status) for status in snapshot.studies},
        "running": running,
        "workers": [_worker(worker, running) for worker in snapshot.workers],
        "troubles": warnings(snapshot),
        "errors": [_error(error) for error in snapshot.errors],
    }
    return {name: page_texts(value) for name, value in state.items()}


def _study(status: StudyStatus) -> dict[str, Any]:
    return {
        "done": status.trials[TrialState.DONE],
        "total": sum(status.trials.values()),
        "counts": trial_counts(status.trials, status.pruned),
        "page": page_name(status.study),
    }


def _running(study: str, held: WorkerStatus, trial: LiveTrial) -> dict[str, Any]:
    return {
        "study": study,
        "page": page_name(study),
        "trial": held.trial,
        "cell": trial.cell,
        "seed": trial.seed,
        "attempt": held.attempt,
        "worker": held.worker_id,
        "where": f"{held.host}, {held.device}" + (f", slot {held.slot}" if held.slot is not None else ""),
        "step": f"{held.step:,}",
        "epoch": _number(trial, EPOCH),
        "loss": _number(trial, TRAIN_LOSS),
        "accuracy": _main(trial),
        "beat": _ago(held.last_beat_s),
        "lost": _is_lost(held),
    }


def _main(trial: LiveTrial) -> str:
    """The newest value of what the study is about; of a program with its name."""
    text = _number(trial, trial.metric)
    return f"{trial.metric} {text}" if text and trial.metric != VAL_ACCURACY else text


def _number(trial: LiveTrial, metric: str) -> str:
    value = trial.newest.get(metric)
    if value is None:
        return ""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.4g}" if metric != VAL_ACCURACY else value_text(value, metric)


def _worker(worker: LiveWorker, running: list[dict[str, Any]]) -> dict[str, Any]:
    held = [trial for trial in running if trial["worker"] == worker.worker_id]
    return {
        "worker": worker.worker_id,
        "where": f"{worker.host}, {worker.device}",
        "slots": f"{len(held)} of {worker.slots} busy",
        "trials": ", ".join(f"{trial['study']}/{trial['trial']}" for trial in held),
        "pages": sorted({trial["page"] for trial in held}),
        "beat": _ago(worker.last_beat_s),
        "lost": _is_silent(worker.last_beat_s),
    }


def _error(error: RecentError) -> dict[str, Any]:
    text = error.error if len(error.error) <= _MOST else error.error[: _MOST - 1] + "…"
    return {
        "study": error.study,
        "page": page_name(error.study),
        "trial": error.trial,
        "attempt": error.attempt,
        "end": error.end.replace("_", " "),
        "at": timestamp(error.at),
        "error": text,
    }


def warnings(snapshot: Snapshot) -> Mapping[str, list[str]]:
    """Sentences about silent workers, and trials without a worker, by the page that shows them."""
    working = any(not _is_silent(worker.last_beat_s) for worker in snapshot.workers)
    by_page = {page_name(status.study): list(_sentences([status], working)) for status in snapshot.studies}
    by_page[INDEX] = list(_sentences(snapshot.studies, working))
    return {page: sentences for page, sentences in by_page.items() if sentences}


def _is_silent(last_beat_s: float | None) -> bool:
    """Whether a worker has been silent for so long that it may be gone."""
    return last_beat_s is None or last_beat_s > _SILENT_S


def _is_lost(held: WorkerStatus) -> bool:
    """Whether the worker of a trial may be gone."""
    return held.expired or _is_silent(held.last_beat_s)


def _sentences(studies: Sequence[StudyStatus], working: bool) -> Iterator[str]:
    yield from (status.unreadable for status in studies if status.unreadable)
    lost = [held for status in studies for held in status.workers if _is_lost(held)]
    if lost:
        yield _lost(lost)
    waiting = sum(status.trials[TrialState.QUEUED] + status.to_ask for status in studies)
    if (waiting or lost) and not working:
        trials = f"{plural(waiting, 'trial')} {'waits' if waiting == 1 else 'wait'} and no" if waiting else "No"
        yield f"{trials} worker is at work: start `cifarsweep worker`."


def _lost(lost: Sequence[WorkerStatus]) -> str:
    whose = "1 trial's worker was" if len(lost) == 1 else f"The workers of {len(lost)} trials were"
    beats = [held.last_beat_s for held in lost if held.last_beat_s is not None]
    heard = f"last heard of {_ago(max(beats))}" if beats else "last heard of before the machine's last start"
    longest = " or later" if len(lost) > 1 and beats else ""
    them = "it" if len(lost) == 1 else "them"
    when = (
        "" if all(held.expired for held in lost) else f", unless {'it comes' if len(lost) == 1 else 'they come'} back"
    )
    return f"{whose} {heard}{longest}; the next worker takes {them} over{when}."


def _ago(seconds: float | None) -> str:
    """The age of a worker's last heartbeat, in words."""
    if seconds is None:
        return "before its machine's last start"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
