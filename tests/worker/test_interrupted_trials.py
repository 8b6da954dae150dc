"""Workers whose trials are paused and cancelled under their hands, on machines that are bad, killed by others."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import astuple
from pathlib import Path

import pytest
from support import worker
from support.waiting import Beside
from support.worker import TRIALS, Notes, assert_everything_is_there_once

from cifarsweep.errors import StoreUnavailable
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.worker import supervisor
from cifarsweep.worker.supervisor import EXIT_FAULTY_HOST

#: For tests in which no lease has to run out: a machine that pauses for some seconds costs none either.
PATIENT = Timing(lease_s=30.0, beat_s=1.0)
#: Crashes are tried again soon, and the trials of the dead taken over.
HASTY = Timing(lease_s=1.2, beat_s=0.5)


@pytest.fixture
def timing() -> Timing:
    return PATIENT


hasty = pytest.mark.parametrize("timing", [pytest.param(HASTY, id="hasty")])


@pytest.fixture(autouse=True)
def hold(tmp_path: Path) -> None:
    """Trials that are to be held are, from the beginning."""
    (tmp_path / "hold").touch()


def work(store: Store, folder: Path, behaviour: str, notes: Notes, slots: int = 2) -> int:
    return worker.work(store, folder, behaviour, notes, slots=slots)


def when_some_train(store: Store, act) -> Beside:
    """Wait in the background until two trials are held and have a checkpoint, then act.

    Only trials that are held sooner or later are so both at once.
    """

    def some_train() -> bool:
        return sum(trial.state is TrialState.LEASED and trial.step > 2 for trial in store.trials.all("demo")) == 2

    return Beside(some_train, lambda: act("demo"), interrupts=False)


def test_a_worker_whose_study_is_paused_ends_and_says_so_and_after_a_resume_all_is_there_once(store, tmp_path):
    notes = Notes()
    when_some_train(store, store.control.pause)

    assert work(store, tmp_path, "held", notes) == 0

    counts = store.studies.status("demo")[0].trials
    assert counts[TrialState.PAUSED] + counts[TrialState.DONE] == TRIALS and counts[TrialState.PAUSED] >= TRIALS - 4
    assert any("paused at step" in line for line in notes.lines)
    assert notes.lines[-1] == f"paused: {counts[TrialState.PAUSED]} trials; `cifarsweep resume STUDY` queues them again"
    assert store.control.resume("demo").applied == counts[TrialState.PAUSED]
    assert work(store, tmp_path, "ok", Notes()) == 0
    assert_everything_is_there_once(store)


def test_a_cancelled_study_stops_for_good(store, tmp_path):
    for number in range(2, TRIALS):
        store.control.cancel("demo", number)
    store.sync_optuna()  # now, for else the worker would while its two trials come to their ends
    notes = Notes()
    when_some_train(store, store.control.cancel)

    assert work(store, tmp_path, "held", notes) == 0

    cancelled = [trial for trial in store.trials.all("demo") if trial.state is TrialState.CANCELLED]
    assert len(cancelled) == TRIALS
    assert [trial.attempts[0].end for trial in cancelled[:2]] == [AttemptEnd.CANCELLED] * 2
    assert any("cancelled at step" in line for line in notes.lines)
    assert store.unsynced() == 0 and store.admin.check() == []


@hasty
@pytest.mark.parametrize("slots", [1, 3])
def test_a_machine_whose_children_always_die_stops_without_costing_the_trials_anything(store, tmp_path, slots):
    notes = Notes()

    assert work(store, tmp_path, "die", notes, slots) == EXIT_FAULTY_HOST

    (complaint,) = [line for line in notes.lines if "takes no more trials" in line]
    assert "signal SIGABRT" in complaint
    trials = store.trials.all("demo")
    assert {trial.state for trial in trials} == {TrialState.QUEUED}
    ends = [attempt.end for trial in trials for attempt in trial.attempts]
    assert ends.count(AttemptEnd.BAD_MACHINE) >= 3 and set(ends) <= {AttemptEnd.BAD_MACHINE, AttemptEnd.RELEASED}
    assert work(store, tmp_path, "ok", Notes(), 3) == 0
    assert_everything_is_there_once(store)


@hasty
def test_trials_that_die_elsewhere_too_are_no_fault_of_the_machine(store, tmp_path):
    for number in range(2, TRIALS):
        store.control.cancel("demo", number)
    for lease in [store.queue.claim("elsewhere") for _ in range(2)]:
        store.queue.fail(lease, AttemptEnd.CRASHED, "died", "")

    assert work(store, tmp_path, "die", Notes()) == 0

    assert [trial.state for trial in store.trials.all("demo")[:2]] == [TrialState.POISONED] * 2


def test_an_outage_of_the_database_is_two_lines_on_the_screen(store, tmp_path, monkeypatch):
    notes, tries = Notes(), [8]
    write, transaction = store.queue.write, store._db._run
    began = threading.Event()

    def first_write(*arguments):
        began.set()
        return write(*arguments)

    def away_for_some_tries(*arguments, **options):
        if began.is_set() and tries:
            tries[0] -= 1
            if not tries[0]:
                tries.clear()
            raise StoreUnavailable("the server can't be reached")
        return transaction(*arguments, **options)

    monkeypatch.setattr(store.queue, "write", first_write)
    monkeypatch.setattr(store._db, "_run", away_for_some_tries)

    assert work(store, tmp_path, "slow", notes, 4) == 0

    away, back = [line for line in notes.lines if line.startswith("the database")]
    assert away == "the database is away, training goes on without it: the server can't be reached"
    assert back.startswith("the database is back after ")
    assert_everything_is_there_once(store)


@hasty
def test_the_trials_of_a_killed_worker_go_on_elsewhere_soon_after_their_lease(store, tmp_path):
    command = worker.command(f"sqlite:///{tmp_path}/test.db", tmp_path, "held", timing=astuple(HASTY), slots=2)
    doomed = subprocess.Popen(command, start_new_session=True)
    killed_at = []

    def kill(_study: str) -> None:
        killed_at.append(time.monotonic())
        os.killpg(doomed.pid, signal.SIGKILL)

    when_some_train(store, kill)
    doomed.wait(200)

    notes = Notes()
    assert work(store, tmp_path, "ok", notes) == 0

    # Since there was somebody who could, whose imports may take a while.
    began = max(killed_at[0], notes.taken[0][0])
    taken_over = [at for at, attempt in notes.taken if attempt == 2][:2]
    assert taken_over[-1] - began < HASTY.lease_s + 60
    assert AttemptEnd.TAKEN_OVER in {attempt.end for trial in store.trials.all("demo") for attempt in trial.attempts}
    assert any(attempt.first_step > 0 for trial in store.trials.all("demo") for attempt in trial.attempts)
    assert_everything_is_there_once(store)


@pytest.mark.long
@pytest.mark.parametrize("back", [True, False], ids=["back in time", "away for good"])
def test_a_stop_amid_an_outage_gives_back_what_it_can_and_says_what_it_could_not(store, tmp_path, monkeypatch, back):
    """After some minutes of an outage the next try is far away; whoever has to end can't wait for it."""
    transaction, away = store._db._run, threading.Event()

    def unless_away(*arguments, **options):
        if away.is_set():
            raise StoreUnavailable("the server can't be reached")
        return transaction(*arguments, **options)

    def stop_amid_an_outage(study):
        away.set()
        time.sleep(4)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        if back:
            away.clear()

    monkeypatch.setattr(store._db, "_run", unless_away)
    monkeypatch.setattr(supervisor, "_GRACE_S", 60.0 if back else 3.0)
    notes = Notes()
    when_some_train(store, stop_amid_an_outage)

    assert work(store, tmp_path, "held", notes) == 128 + signal.SIGTERM

    away.clear()
    said = " ".join(notes.lines)
    leased = store.studies.status("demo")[0].trials[TrialState.LEASED]
    assert (leased, said.count("given back"), said.count("could not be given back")) == (
        (0, 2, 0) if back else (2, 2, 2)
    )
