"""What the server tells open pages every two seconds: texts and small numbers, ready for JSON."""

from __future__ import annotations

import math
from typing import Any

from cifarsweep.dashboard.index import index_stamp
from cifarsweep.dashboard.troubles import ago, is_lost, is_silent, troubles
from cifarsweep.formatting import timestamp, trial_counts, value_text
from cifarsweep.report.render import INDEX, page_name
from cifarsweep.spec.metrics import EPOCH, TRAIN_LOSS, VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.store.records import StudyStatus, WorkerStatus
from cifarsweep.store.status import ErrorSeen, Pulse, RunningSeen, WorkerSeen
from cifarsweep.text import page_texts

#: As much of an error's text as a list shows; all of it stands on the study's page.
_MOST = 300


def message(pulse: Pulse) -> dict[str, Any]:
    """All of it; a page picks what it shows."""
    running = [
        _running(status.study, held, pulse.running[status.study, held.trial])
        for status in pulse.studies
        for held in status.workers
        if (status.study, held.trial) in pulse.running
    ]
    pages = {page_name(status.study): pulse.stamps[status.study] for status in pulse.studies}
    said = {
        "stamps": {INDEX: index_stamp(pulse.stamps)} | pages,
        "studies": {status.study: _study(status) for status in pulse.studies},
        "running": running,
        "workers": [_worker(worker, running) for worker in pulse.workers],
        "troubles": troubles(pulse),
        "errors": [_error(error) for error in pulse.errors],
    }
    return {name: page_texts(value) for name, value in said.items()}


def _study(status: StudyStatus) -> dict[str, Any]:
    return {
        "done": status.trials[TrialState.DONE],
        "total": sum(status.trials.values()),
        "counts": trial_counts(status.trials, status.pruned),
        "page": page_name(status.study),
    }


def _running(study: str, held: WorkerStatus, seen: RunningSeen) -> dict[str, Any]:
    return {
        "study": study,
        "page": page_name(study),
        "trial": held.trial,
        "cell": seen.cell,
        "seed": seen.seed,
        "attempt": held.attempt,
        "worker": held.worker_id,
        "where": f"{held.host}, {held.device}" + (f", slot {held.slot}" if held.slot is not None else ""),
        "step": f"{held.step:,}",
        "epoch": _number(seen, EPOCH),
        "loss": _number(seen, TRAIN_LOSS),
        "accuracy": _number(seen, VAL_ACCURACY),
        "beat": ago(held.last_beat_s),
        "lost": is_lost(held),
    }


def _number(seen: RunningSeen, metric: str) -> str:
    value = seen.newest.get(metric)
    if value is None:
        return ""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.4g}" if metric != VAL_ACCURACY else value_text(value, metric)


def _worker(worker: WorkerSeen, running: list[dict[str, Any]]) -> dict[str, Any]:
    held = [trial for trial in running if trial["worker"] == worker.worker_id]
    return {
        "worker": worker.worker_id,
        "where": f"{worker.host}, {worker.device}",
        "slots": f"{len(held)} of {worker.slots} busy",
        "trials": ", ".join(f"{trial['study']}/{trial['trial']}" for trial in held),
        "pages": sorted({trial["page"] for trial in held}),
        "beat": ago(worker.last_beat_s),
        "lost": is_silent(worker.last_beat_s),
    }


def _error(error: ErrorSeen) -> dict[str, Any]:
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
