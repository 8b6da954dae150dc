"""What a worker counts of what it has done."""

from dataclasses import replace
from pathlib import Path

import pytest

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store
from cifarsweep.training import events
from cifarsweep.worker.tally import AttemptTally, Ended, Tally

DIGITS = DataSetInfo(name="digits", source="", classes=(), train=100, test=0, sha256="", bytes=0, path=Path())


@pytest.fixture
def tally() -> Tally:
    times = iter([0.0, 90.0])
    return Tally(lambda: next(times))


def test_steps_and_images_are_those_that_were_trained_here(store: Store, tally: Tally) -> None:
    """Given 2 steps an epoch, 64 images and 16, when a trial goes on from step 2, then what came before is left out."""
    lease = store.queue.claim("w")
    assert lease is not None
    settings = lease.settings.model_copy(update={"batch_size": 64})
    attempt = AttemptTally(tally, replace(lease, settings=settings), DIGITS)

    for event in (events.Started(2), events.Metrics((MetricRow("train/loss", 4, 1.0),)), events.Stopped(5)):
        attempt.observe(event)
    attempt.close(Ended.GIVEN_BACK)

    said = "this worker's trials: 1 given back; trained 3 steps, 144 images in 1 min 30 s"
    assert tally.text().replace("\N{NARROW NO-BREAK SPACE}", " ") == said


def test_a_trial_whose_child_never_began_has_no_steps(store: Store, tally: Tally) -> None:
    lease = store.queue.claim("w")
    assert lease is not None

    AttemptTally(tally, lease, DIGITS).close(Ended.FAILED)

    assert tally.text().startswith("this worker's trials: 1 failed and queued again in 1")


def test_ends_come_in_one_order(tally: Tally) -> None:
    for ended in (Ended.GIVEN_UP, Ended.DONE, Ended.REUSED, Ended.DONE, None):
        tally.add(ended, 1000, 0)

    assert tally.text().startswith("this worker's trials: 2 done, 1 reused, 1 given up; trained 5,000 steps in ")
