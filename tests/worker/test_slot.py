"""Children that come and go: a slot without work ends its child, one without memory for a child is given up."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import psutil
import pytest
from support import child, worker
from support.waiting import Beside
from support.worker import Notes

from cifarsweep.errors import DeviceError
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.worker import slot
from cifarsweep.worker.child import process, protocol

#: Two cells of the shipped study, one seed each.
STUDY = read_study(find("demo"))
TRIALS = 4


def study(name: str) -> Study:
    return STUDY.model_copy(update={"name": name, "cells": STUDY.cells[:2], "seeds": STUDY.seeds[:2], "hypotheses": ()})


@pytest.fixture(name="study")
def first_study() -> Study:
    return study("first")


@pytest.fixture
def work(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slot, "_RESTART_DELAY_S", 0.05)
    notes = Notes()

    def _work(room: int, mishap: str = "exception", **plan: object) -> int:
        command = child.command(tmp_path, room=room, crowded_out=mishap)
        return worker.work(store, tmp_path, display=notes, command=command, **plan)

    _work.notes = notes  # type: ignore[attr-defined]
    return _work


def done(store: Store, name: str) -> int:
    return store.studies.status(name)[0].trials[TrialState.DONE]


class Children:
    """The children that the slots of a test have started, and what further ones are to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._started: list[int] = []
        self._instead: Sequence[str] | None = None
        real = slot.ChildProcess

        def start(command: Sequence[str]) -> process.ChildProcess:
            child = real(self._instead or command)
            self._started.append(child.pid)
            return child

        monkeypatch.setattr(slot, "ChildProcess", start)

    def start_instead(self, command: Sequence[str]) -> None:
        """Let further ones start with another command: how many a worker needs for a study depends on the machine."""
        self._instead = command

    def living(self) -> list[int]:
        return [pid for pid in self._started if psutil.pid_exists(pid)]

    def gone_after(self, store: Store, name: str) -> bool:
        """Whether all trials of a study are done and no child is left."""
        return done(store, name) == TRIALS and not self.living()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    return Children(monkeypatch)


def test_a_worker_that_waits_keeps_no_child_and_takes_what_comes(store, work, children):
    other = Beside(
        lambda: children.gone_after(store, "first"),
        lambda: store.studies.create(study("second")),
        lambda: children.gone_after(store, "second"),
    )

    code = work(room=99, slots=2, wait=True, keep_idle_s=0.3)

    other.check()
    assert code == 130

    ends = {
        attempt.end for name in ("first", "second") for trial in store.trials.all(name) for attempt in trial.attempts
    }
    assert ends == {AttemptEnd.DONE}
    assert {trial.outcome for trial in store.trials.all("second")} == {"finished"}


@pytest.mark.parametrize("mishap", ["killed", "exception"])
def test_a_slot_without_memory_for_its_child_is_given_up_and_the_others_go_on(store, work, mishap):
    assert work(room=1, mishap=mishap, slots=3) == 0

    assert done(store, "first") == TRIALS
    assert {len(trial.attempts) for trial in store.trials.all("first")} == {1}


def test_slots_that_can_not_start_are_named(store, work):
    notes = work.notes.notes
    other = Beside(lambda: sum("does not start" in note for note in notes) == 2)

    code = work(room=1, mishap="refused", slots=3, wait=True)

    other.check()
    assert code == 130
    assert all("there is no memory to start on" in note for note in notes if "does not start" in note)
    assert any("1 go on" in note for note in notes)


def test_a_worker_without_memory_for_any_child_ends_with_a_sentence(store, work):
    with pytest.raises(
        DeviceError, match="does not start on this machine: device auto: there is no memory to start on"
    ):
        work(room=0, mishap="refused", slots=2)

    assert store.studies.status("first")[0].trials[TrialState.QUEUED] == TRIALS


def test_a_trial_whose_child_does_not_start_is_given_back_and_counts_for_nobody(store, work, children, tmp_path):
    other = Beside(
        lambda: children.gone_after(store, "first"),
        lambda: children.start_instead(child.command(tmp_path, room=0, crowded_out="killed")),
        lambda: store.studies.create(study("second")),
        interrupts=False,
    )

    with pytest.raises(DeviceError, match="does not start"):
        work(room=99, wait=True, keep_idle_s=0.3)

    other.check()
    assert store.studies.status("second")[0].trials[TrialState.QUEUED] == TRIALS
    assert [attempt.end for trial in store.trials.all("second") for attempt in trial.attempts] == [AttemptEnd.RELEASED]


def test_a_slot_that_was_given_up_and_whose_child_starts_after_all_is_kept(monkeypatch):
    """A trial may still come to it, with the end of another that waited for the database."""
    child = mock.Mock(read=lambda: iter([protocol.Ready("a GPU", {})]))
    monkeypatch.setattr(slot, "ChildProcess", mock.Mock(side_effect=DeviceError("no memory")))
    given_up = slot.Slot(0, mock.Mock(clock=itertools.count().__next__))
    while not given_up.failure:
        given_up.poll()

    monkeypatch.setattr(slot, "ChildProcess", lambda command: child)
    given_up._start_child()
    given_up.read_events()

    assert given_up.idle and not given_up.failure


def test_a_system_that_starts_no_process_costs_a_slot(store, work, monkeypatch):
    real, started = process.subprocess.Popen, []

    def start(*arguments: object, **options: object) -> object:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(arguments)
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(process.subprocess, "Popen", start)

    assert work(room=4, slots=2) == 0

    assert done(store, "first") == TRIALS


def test_a_worker_is_stopped_while_its_child_starts_for_a_trial(store, work, children):
    """Nothing was trained, so nothing is saved: the trial goes back at once."""
    other = Beside(
        lambda: children.gone_after(store, "first"),
        lambda: children.start_instead(["sleep", "600"]),
        lambda: store.studies.create(study("second")),
        lambda: store.studies.status("second")[0].trials[TrialState.LEASED],
    )

    code = work(room=99, wait=True, keep_idle_s=0.3)

    other.check()
    assert code == 130
    assert store.studies.status("second")[0].trials[TrialState.QUEUED] == TRIALS
