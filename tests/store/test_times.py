"""How long trials took, and what they were trained with, by cell and device."""

import pytest
from scenes import make_cell, result, set_trial
from sqlalchemy import update

from cifarsweep.spec.types import Outcome
from cifarsweep.store import Store
from cifarsweep.store.records import Environment, WorkerInfo
from cifarsweep.store.schema import cell
from cifarsweep.store.times import TrainingTime

FAST = Environment({"digits": "d1"}, "fast", {"torch": "2.15", "cuda": "13"})
SLOW = Environment({"digits": "d1"}, "slow", {"torch": "2.15"})


def finish(store: Store, environment: Environment | None, seconds: float = 2.0, steps: int = 10) -> int:
    lease = store.queue.claim("w", environment=environment)
    assert lease is not None
    store.queue.finish(lease, [], None, result(steps))
    set_trial(store, lease.trial_id, elapsed_s=seconds)
    return lease.trial_id


def test_times_are_summed_by_cell_and_device(busy_store: Store) -> None:
    """Its trials come seed by seed: the two cells in turns."""
    for environment in (FAST, FAST, SLOW, FAST):
        finish(busy_store, environment)
    first, second = make_cell(0.1).settings, make_cell(0.05).settings

    assert sorted(busy_store.trials.times(), key=repr) == sorted(
        [
            TrainingTime(first, "fast", 10, 2.0),
            TrainingTime(first, "slow", 10, 2.0),
            TrainingTime(second, "fast", 20, 4.0),
        ],
        key=repr,
    )


def test_a_worker_that_wrote_no_device_with_its_attempts_has_that_of_its_row(busy_store: Store) -> None:
    busy_store.queue.register_worker(WorkerInfo("w", "host", 1, "a processor", 1, {"torch": "2.14"}))
    done = finish(busy_store, None)

    assert [one.device for one in busy_store.trials.times()] == ["a processor"]
    assert busy_store.trials.environments([done]) == [{"device": "a processor", "torch": "2.14"}]


def test_environments_are_named_once_and_without_images(busy_store: Store) -> None:
    done = [finish(busy_store, environment) for environment in (FAST, SLOW, FAST)]

    found = busy_store.trials.environments(done)
    assert sorted(one["device"] for one in found) == ["fast", "slow"]
    assert {"device": "fast", "torch": "2.15", "cuda": "13"} in found
    assert busy_store.trials.environments([]) == []


@pytest.mark.parametrize("values", [{"outcome": Outcome.DIVERGED.value}, {"elapsed_s": 0.0}, {"state": "failed"}])
def test_what_was_not_trained_to_its_end_has_no_time(busy_store: Store, values: dict[str, object]) -> None:
    set_trial(busy_store, finish(busy_store, FAST), **values)
    assert busy_store.trials.times() == []


def test_a_cell_that_can_not_be_read_has_no_time(busy_store: Store) -> None:
    finish(busy_store, FAST)
    busy_store._db.write(lambda conn: conn.execute(update(cell).values(settings="{")))
    assert busy_store.trials.times() == []
