"""A supervisor with real child processes and a real database; only the training is make-believe."""

import contextlib
import io
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from support import child, worker
from support.waiting import Beside
from support.worker import TRIALS, Notes, assert_everything_is_there_once, here

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import DeviceError
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.worker.checkpoint_cleanup import CheckpointDirectory
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Display, display_for
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.supervisor import Supervisor

#: No lease runs out, though the machine may pause for some seconds.
PATIENT = Timing(lease_s=12.0, beat_s=1.0)
#: For tests in which one has to, or a crash is repeated often.
HASTY = Timing(lease_s=3.0, beat_s=0.2)
#: Four trials, for tests in which each costs a child or waits for its second attempt.
few = pytest.mark.parametrize("study", [pytest.param(read_study(find("demo"), seeds=1), id="few")])
hasty = pytest.mark.parametrize("timing", [pytest.param(HASTY, id="hasty")])


@pytest.fixture
def work(store: Store, tmp_path: Path):
    def _work(behaviour: str = "ok", display: Display | None = None, **plan: object) -> int:
        return worker.work(store, tmp_path, behaviour, display or Notes(), **plan)

    return _work


def test_a_worker_does_every_trial_and_ends(store, work):
    assert work() == 0

    assert_everything_is_there_once(store)
    known = {(trial.final["val/images"], trial.final["val/largest_class"]) for trial in store.trials.all("demo")}
    assert known == {(1000.0, 100.0)}


@pytest.mark.parametrize("terminal", [True, False])
def test_the_first_line_says_what_trains_and_what_would_be_faster(work, monkeypatch, terminal):
    monkeypatch.setattr("cifarsweep.worker.claims.faster_precision", lambda: "it multiplies in bfloat16")
    screen = io.StringIO()

    work(display=display_for(Console(file=screen, force_terminal=terminal, width=200)), max_trials=2)

    said = screen.getvalue()
    assert said.count("training on") == 1 and "; it multiplies in bfloat16" in said
    assert said.index("training on") < said.index("demo/")


def test_several_slots_share_the_trials(store, work):
    assert work(slots=3) == 0

    assert_everything_is_there_once(store)


def test_a_finished_trial_keeps_its_last_checkpoint_only(store, work, tmp_path):
    work()

    files = sorted(path.name for path in tmp_path.glob("artifacts/demo-*/0/*"))

    assert len(files) == 1 and files[0].startswith(f"step-{child.STEPS:08d}")


def test_a_worker_takes_no_more_than_it_may(store, work):
    assert work(max_trials=5) == 0

    assert store.studies.status("demo")[0].trials[TrialState.DONE] == 5


@few
def test_a_worker_that_stays_while_trials_are_queued_does_not_wait_for_the_last_ones_of_others(store, work):
    assert store.queue.claim("another worker") is not None

    assert work(while_queued=True) == 0

    counts = store.studies.status("demo")[0].trials
    assert (counts[TrialState.DONE], counts[TrialState.LEASED]) == (3, 1)


@few
@pytest.mark.parametrize(
    ("behaviour", "timing"),
    [
        ("crash-once", PATIENT),
        ("exit-once", PATIENT),
        ("garbage-once", PATIENT),
        ("hang-once", HASTY),
        ("raise-once", PATIENT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_a_child_does_once_the_study_completes(store, work, behaviour):
    assert work(behaviour, slots=4) == 0

    assert_everything_is_there_once(store)
    attempts = {len(trial.attempts) for trial in store.trials.all("demo")}
    # A machine that pauses for as long as a child may be silent ends others too.
    assert attempts == {2} or (behaviour == "hang-once" and min(attempts) >= 2)


@few
def test_a_trial_that_always_raises_fails_with_its_traceback_and_the_worker_goes_on(store, work):
    assert work("raise", slots=4) == 0

    trials = store.trials.all("demo")
    assert {trial.state for trial in trials} == {TrialState.FAILED}
    assert all("boom" in trial.error and "child.py" in trial.traceback for trial in trials)
    assert {len(trial.attempts) for trial in trials} == {2}


@pytest.mark.long
@few
@hasty
def test_a_trial_that_always_kills_its_child_is_poisoned(store, work):
    assert work("crash demo/0", slots=4) == 0

    trial, *others = store.trials.all("demo")
    assert trial.state is TrialState.POISONED and {other.state for other in others} == {TrialState.DONE}
    assert "SIGABRT" in trial.traceback and "last words of the child" in trial.traceback


@few
def test_out_of_memory_is_retried_once(store, work):
    work("oom", slots=4)

    trial = store.trials.all("demo")[0]
    assert trial.state is TrialState.FAILED
    assert [attempt.end for attempt in trial.attempts] == [AttemptEnd.OUT_OF_MEMORY] * 2


def test_a_device_that_broke_costs_one_attempt_not_the_trials_after_it(store, work):
    assert work("broken-gpu") == 0

    assert_everything_is_there_once(store)
    ends = [
        attempt for trial in store.trials.all("demo") for attempt in trial.attempts if attempt.end != AttemptEnd.DONE
    ]
    assert [attempt.end for attempt in ends] == [AttemptEnd.CRASHED]
    assert "an illegal memory access" in ends[0].traceback


def test_a_child_whose_capture_failed_ends_its_trial_and_trains_no_other(store, work, tmp_path):
    notes = Notes()

    assert work("uncaptured-once", notes) == 0

    assert_everything_is_there_once(store)
    assert {len(trial.attempts) for trial in store.trials.all("demo")} == {1}
    children = [(tmp_path / f"pid-of-demo-{number}").read_text() for number in range(TRIALS)]
    assert len(set(children)) == 2 and children.count(children[0]) == 1
    said = [note for note in notes.notes if "without a CUDA graph" in note]
    assert len(said) == 1 and "demo/0" in said[0] and "stream is capturing" in said[0]


@hasty
def test_a_database_that_is_locked_for_longer_than_a_lease_costs_no_child(store, work, tmp_path):
    def hold() -> None:
        other = sqlite3.connect(tmp_path / "test.db", isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(4.5)
        other.execute("COMMIT")
        other.close()

    holder = Beside(lambda: store.studies.status("demo")[0].trials[TrialState.LEASED] == 2, hold, interrupts=False)

    assert work("slower", slots=2, max_trials=2) == 0

    holder.check()

    ends = [attempt.end for number in (0, 1) for attempt in store.trials.get("demo", number).attempts]
    assert AttemptEnd.CRASHED not in ends


def test_a_child_that_hangs_before_it_is_ready_is_noticed(store, work, monkeypatch):
    monkeypatch.setattr("cifarsweep.worker.slot.LONGEST_START_S", 0.3)

    with pytest.raises(DeviceError, match="does not start on this machine: it was not ready after 0 s"):
        work(command=[sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_log_on_a_full_disk_costs_no_trials(store, work):
    full = io.TextIOWrapper(io.BufferedWriter(io.FileIO("/dev/full", "w")), write_through=True)

    assert work(display=display_for(Console(file=full)), max_trials=2) == 0
    with contextlib.suppress(OSError):
        full.close()

    assert store.studies.status("demo")[0].trials[TrialState.DONE] == 2


def test_two_databases_may_share_a_place(store, work, tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/other.db", upgrade=True) as other:
        other.studies.create(read_study(find("demo")))
        theirs = other.queue.claim("w")
        file = CheckpointFolder(Path(CheckpointDirectory(str(tmp_path / "artifacts")).path(theirs))).write(3, b"theirs")

    assert work() == 0

    assert Path(file.path).read_bytes() == b"theirs"


def test_ctrl_c_gives_the_leases_back_and_the_next_worker_finishes(store, work, tmp_path):
    (tmp_path / "hold").touch()

    # Who trains listens to signals; before that, Ctrl-C would end the tests.
    other = Beside(lambda: store.studies.status("demo")[0].trials[TrialState.LEASED])

    code = work("held", slots=2)

    other.check()
    assert code == 130

    counts = store.studies.status("demo")[0].trials
    assert counts[TrialState.LEASED] == 0 and counts[TrialState.QUEUED] > 0
    assert work() == 0
    assert_everything_is_there_once(store)


def test_a_data_set_that_is_not_here_is_refused_before_anything_is_claimed(store, tmp_path):
    from cifarsweep.errors import DataError

    def require(name: str) -> None:
        raise DataError(f"{name} is not here")

    plan = WorkerConfig(command=["false"], artifacts=tmp_path)
    with pytest.raises(DataError, match="digits is not here"):
        Supervisor(store, plan, Display(), EligibleStudies(store, require)).run()

    assert store.studies.status("demo")[0].trials[TrialState.QUEUED] == TRIALS


def test_a_child_that_never_starts_is_one_sentence(store, tmp_path):
    from cifarsweep.errors import CifarsweepError

    plan = WorkerConfig(command=[sys.executable, "-c", "raise SystemExit('no torch here')"], artifacts=tmp_path)

    with pytest.raises(CifarsweepError, match=r"does not start[\s\S]*no torch here"):
        Supervisor(store, plan, Display(), EligibleStudies(store, here)).run()


def test_a_study_and_a_trial_that_cannot_be_read_are_named_once_and_the_rest_is_trained(store, work, tmp_path):
    store.studies.create(read_study(find("demo"), name="newer"))
    with contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as conn:
        conn.execute(
            "UPDATE cs_study SET spec = replace(spec, '\"epochs\":', '\"warp\":9,\"epochs\":') WHERE name = 'newer'"
        )
        conn.execute("UPDATE cs_trial SET seed = 'soon' WHERE study_id = 1 AND number = 4")
        conn.commit()
    display = Notes()

    assert work(display=display) == 0

    named = [note for note in display.notes if "study '" in note]
    assert len(named) == 2
    assert "study 'newer' is left to other workers" in named[0] and "newer cifarsweep made it" in named[0]
    assert named[1].startswith("study 'demo', trial 4: cs_trial.seed is 'soon'; it must be a whole number")
    assert store.studies.status("demo")[0].trials[TrialState.DONE] == TRIALS - 1
    assert store.studies.status("newer")[0].trials[TrialState.QUEUED] == TRIALS


def last_line(work, behaviour: str, **plan: object) -> str:
    """What a worker says at its end."""
    notes = Notes()
    work(behaviour, notes, **plan)
    return notes.summary


@few
def test_a_worker_says_at_its_end_what_it_has_done(work):
    """Given four trials of six steps, when a worker has trained them, then it counts them."""
    assert last_line(work, "ok").startswith("this worker's trials: 4 done; trained 24 steps in ")


@few
def test_a_worker_counts_what_failed_and_what_was_given_up(work):
    assert last_line(work, "raise", slots=4).startswith("this worker's trials: 4 failed and queued again, 4 given up")


def test_a_worker_without_work_says_so(store, work):
    store.control.cancel("demo")

    assert last_line(work, "ok").startswith("this worker ended no trial in ")
