"""A worker takes over what other trials of the same identity have trained; scripted children, a real database."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support import child
from support.worker import TRIALS, Notes, here, work

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.errors import StoreUnavailable
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.schema import trial as trial_table

IMAGES = 100


def found(name: str, sha256: str = "d" * 64) -> DataSetInfo:
    """The data set, with so many images that its steps can be counted."""
    known = here(name, sha256)
    return DataSetInfo(name, "", (), IMAGES, 0, sha256, 0, known.path)


def train(store: Store, folder: Path, *args: Any, **plan: Any) -> int:
    return work(store, folder, *args, **({"find": found} | plan))


def sources(store: Store, name: str) -> list[str]:
    return [trial.source for trial in store.trials.all(name)]


def outcomes(store: Store, name: str) -> list[tuple[Any, ...]]:
    """Everything that a reader sees of the trials of a study, but for who trained them."""
    rows = store.metrics.read(name, store.metrics.names(name))
    series = {key: (steps.tolist(), values.tolist()) for key, (steps, values) in rows.items()}
    trials = store.trials.all(name)
    return [(t.state, t.outcome, t.value, t.final, t.step, t.elapsed_s, t.weights_sha256) for t in trials] + [
        (key, series[key]) for key in sorted(series)
    ]


@pytest.fixture
def again(store: Store, tmp_path: Path, study: Study) -> Store:
    """A database in which `demo` is done and `again`, the same study, is not."""
    assert train(store, tmp_path) == 0
    store.studies.create(study.model_copy(update={"name": "again"}))
    return store


def test_a_study_that_another_has_trained_takes_all_of_it_over_without_a_child(again: Store, tmp_path: Path) -> None:
    notes = Notes()

    # The child would crash if it trained anything.
    assert train(again, tmp_path, "die", notes) == 0

    assert outcomes(again, "again") == outcomes(again, "demo")
    assert sources(again, "again") == [f"demo/{number}" for number in range(TRIALS)]
    assert notes.ends == [f"reused from demo/{number}" for number in range(TRIALS)]
    assert again.admin.check() == []


def test_one_transaction_ends_a_trial_and_takes_the_next(
    again: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[int] = []
    claim = again.queue.claim
    monkeypatch.setattr(again.queue, "claim", lambda *args, **kwargs: claims.append(1) or claim(*args, **kwargs))
    monkeypatch.setattr("cifarsweep.worker.claims._STUDIES_LAST_S", 3600.0)

    assert train(again, tmp_path, max_trials=TRIALS) == 0

    assert (len(claims), sources(again, "again").count("")) == (1, 0)


def test_a_worker_that_reuses_nothing_trains_in_full(again: Store, tmp_path: Path) -> None:
    assert train(again, tmp_path, reuse=False) == 0

    assert sources(again, "again") == [""] * TRIALS


def test_other_images_are_another_training(store: Store, tmp_path: Path, study: Study) -> None:
    assert train(store, tmp_path) == 0
    store.studies.create(study.model_copy(update={"name": "again"}))

    assert train(store, tmp_path, find=lambda name: found(name, "e" * 64)) == 0

    assert sources(store, "again") == [""] * TRIALS


def test_what_was_edited_is_trained(again: Store, tmp_path: Path) -> None:
    edit = text("UPDATE cs_metric SET value = 0.5 WHERE trial_id = 2 AND step = 1")
    again._db.write(lambda conn: conn.execute(edit))
    notes = Notes()

    assert train(again, tmp_path, display=notes) == 0

    assert [place for place, source in enumerate(sources(again, "again")) if not source] == [1]
    assert notes.notes_with("again/1: is trained, since")
    trial = again.trials.get("again", 1)
    assert trial.weights_sha256 == child.chain(trial.seed) and len(trial.attempts) == 1
    assert again.admin.check() == []


def test_where_one_of_two_sources_was_edited_the_other_one_is_taken(again: Store, tmp_path: Path, study: Study) -> None:
    # given three studies of one training, of which two are done and the first was edited
    assert train(again, tmp_path) == 0
    again._db.write(lambda conn: conn.execute(text("UPDATE cs_metric SET value = 0.5 WHERE trial_id = 2 AND step = 1")))
    again.studies.create(study.model_copy(update={"name": "later"}))
    notes = Notes()

    # when a worker comes for the third
    assert train(again, tmp_path, display=notes) == 0

    # then it trains nothing, and says where it has all of it from
    assert sources(again, "later")[1] == "again/1" and "" not in sources(again, "later")
    assert any("reused from again/1" in end for end in notes.ends) and not notes.notes_with("is trained, since")
    assert again.admin.check() == []


def test_twins_that_are_trained_at_once_are_trained_once(store: Store, tmp_path: Path, study: Study) -> None:
    store.studies.create(study.model_copy(update={"name": "again"}))

    assert train(store, tmp_path, slots=3) == 0

    trained = [trial for name in ("demo", "again") for trial in store.trials.all(name) if not trial.source]
    assert len(trained) == TRIALS
    assert outcomes(store, "again") == outcomes(store, "demo")
    assert store.admin.check() == []


@pytest.mark.long
def test_a_trial_that_is_trained_in_two_attempts_is_taken_over(store: Store, tmp_path: Path, study: Study) -> None:
    assert train(store, tmp_path, "crash-once") == 0
    store.studies.create(study.model_copy(update={"name": "again"}))

    assert train(store, tmp_path, "die") == 0

    assert outcomes(store, "again") == outcomes(store, "demo")


@pytest.mark.parametrize("committed", [True, False])
def test_a_database_that_goes_away_costs_a_reuse_nothing(
    again: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    reuse, lost = again.queue.reuse, [1]

    def unheard(*args: Any) -> Any:
        granted = reuse(*args) if committed or not lost else None
        if lost:
            lost.clear()
            raise StoreUnavailable("the connection is gone")
        return granted

    monkeypatch.setattr(again.queue, "reuse", unheard)

    assert train(again, tmp_path, "die") == 0

    assert outcomes(again, "again") == outcomes(again, "demo")
    assert {len(trial.attempts) for trial in again.trials.all("again")} == {1}


def test_a_lease_that_is_lost_before_the_reuse_costs_the_trial_and_not_the_child(
    again: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reuse, first = again.queue.reuse, [1]

    def too_late(lease: Any, *args: Any) -> Any:
        if first:
            first.clear()
            gone = (
                trial_table.update()
                .where(trial_table.c.trial_id == lease.trial_id)
                .values(lease_until=0.0, expired=True)
            )
            again._db.write(lambda conn: conn.execute(gone))
            assert again.queue.claim("thief", studies=["again"]).trial_id == lease.trial_id  # type: ignore[union-attr]
        return reuse(lease, *args)

    monkeypatch.setattr(again.queue, "reuse", too_late)
    notes = Notes()

    assert train(again, tmp_path, "die", notes, max_trials=TRIALS) == 0

    assert notes.ends[0] == "lost" and notes.ends.count("lost") == 1
    states = [trial.state for trial in again.trials.all("again")]
    assert (states.count(TrialState.LEASED), states.count(TrialState.DONE)) == (1, TRIALS - 1)


class Stopping(Notes):
    """Stops the worker at the end of its fourth trial."""

    def end(self, slot, lease, how, result=None):
        super().end(slot, lease, how, result)
        if len(self.ends) == 4:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_worker_that_is_stopped_leaves_whole_trials(again: Store, tmp_path: Path) -> None:
    assert train(again, tmp_path, "die", Stopping()) == 130

    ends = [attempt.end for trial in again.trials.all("again") for attempt in trial.attempts]
    # What was under way comes to its end, and what came with that is given back.
    assert ends in ([AttemptEnd.DONE] * 5, [*[AttemptEnd.DONE] * 5, AttemptEnd.RELEASED])
    assert train(again, tmp_path, "die") == 0
    assert outcomes(again, "again") == outcomes(again, "demo")
