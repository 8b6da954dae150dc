"""What a person should know who waits for trials: workers that fell silent, and trials that nobody is there for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cifarsweep.formatting import plural
from cifarsweep.report.render import INDEX, page_name
from cifarsweep.spec.types import TrialState
from cifarsweep.store.records import StudyStatus, WorkerStatus
from cifarsweep.store.status import Pulse

#: Three beats of a worker, as they are unless somebody set them otherwise.
SILENT_S = 30.0


def troubles(pulse: Pulse) -> Mapping[str, list[str]]:
    """Sentences by the page that shows them; no page where all is well."""
    working = any(not is_silent(worker.last_beat_s) for worker in pulse.workers)
    found = {page_name(status.study): list(_sentences([status], working)) for status in pulse.studies}
    found[INDEX] = list(_sentences(pulse.studies, working))
    return {page: sentences for page, sentences in found.items() if sentences}


def is_silent(last_beat_s: float | None) -> bool:
    """Whether a worker has not been heard of for so long that it may be gone."""
    return last_beat_s is None or last_beat_s > SILENT_S


def is_lost(held: WorkerStatus) -> bool:
    """Whether nobody may be at work on a trial that is held."""
    return held.expired or is_silent(held.last_beat_s)


def _sentences(studies: Sequence[StudyStatus], working: bool) -> Iterator[str]:
    yield from (status.unreadable for status in studies if status.unreadable)
    lost = [held for status in studies for held in status.workers if is_lost(held)]
    if lost:
        yield _lost(lost)
    waiting = sum(status.trials[TrialState.QUEUED] + status.to_ask for status in studies)
    if (waiting or lost) and not working:
        trials = f"{plural(waiting, 'trial')} {'waits' if waiting == 1 else 'wait'} and no" if waiting else "No"
        yield f"{trials} worker is at work: start `cifarsweep worker`."


def _lost(lost: Sequence[WorkerStatus]) -> str:
    whose = "1 trial's worker was" if len(lost) == 1 else f"The workers of {len(lost)} trials were"
    beats = [held.last_beat_s for held in lost if held.last_beat_s is not None]
    heard = f"last heard of {ago(max(beats))}" if beats else "last heard of before the machine's last start"
    longest = " or later" if len(lost) > 1 and beats else ""
    them = "it" if len(lost) == 1 else "them"
    when = (
        "" if all(held.expired for held in lost) else f", unless {'it comes' if len(lost) == 1 else 'they come'} back"
    )
    return f"{whose} {heard}{longest}; the next worker takes {them} over{when}."


def ago(seconds: float | None) -> str:
    """How long ago a worker was heard of."""
    if seconds is None:
        return "before its machine's last start"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
