"""What a worker says of the studies that it leaves."""

import pytest

from cifarsweep.spec.types import StopRequest, TrialState
from cifarsweep.store.status_records import StudyStatus
from cifarsweep.worker.optuna_sync import unfinished_notes


def status(held: int = 0, stop_request: StopRequest | None = None, **counts: int) -> StudyStatus:
    trials = dict.fromkeys(TrialState, 0) | {TrialState(state): count for state, count in counts.items()}
    return StudyStatus("s", trials, (), 0.0, held=held, stop_request=stop_request)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([status(done=3)], []),
        ([status(failed=1, done=2), status(poisoned=2)], ["given up: 1 failed, 2 poisoned; `cifarsweep show"]),
        (
            [status(paused=2, held=4, stop_request=StopRequest.PAUSE)],
            ["paused: 2 trials and 4 points of a search; `cifarsweep resume"],
        ),
        ([status(held=4, stop_request=StopRequest.CANCEL)], []),
        ([status(paused=1, poisoned=1)], ["paused: 1 trial;", "given up: 1 poisoned;"]),
    ],
)
def test_what_was_paused_or_given_up_is_named(found: list[StudyStatus], words: list[str]) -> None:
    said = list(unfinished_notes(found, {"s"}))

    assert len(said) == len(words) and all(text.startswith(start) for text, start in zip(said, words, strict=True))


def test_what_was_given_up_in_studies_that_the_worker_did_not_serve_is_no_news() -> None:
    assert list(unfinished_notes([status(failed=2)], {"other"})) == []
