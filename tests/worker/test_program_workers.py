"""Workers that run programs of the user's own: which studies they take, and what becomes of the trials."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.program_child import write_program
from support.waiting import Beside
from support.worker import Notes, here

from cifarsweep.errors import CodeUnusable, SpecError
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import AttemptEnd, Outcome, TrialState
from cifarsweep.store.leases import Timing
from cifarsweep.worker.child.process import program_child
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.programs_here import ProgramsHere, parse_programs
from cifarsweep.worker.supervisor import Supervisor

#: Reports before it trains, saves after each step, and waits at step 3 in a first attempt while `waits` is there.
SCRIPT = """
import os, sys, time
import cifarsweep
trial = cifarsweep.trial()
step = int(trial.resume.path.read_text()) if trial.resume else -1
name = f"{trial.params['width']}-{trial.seed}"
while step < 5:
    step += 1
    trial.log(step, {"val/accuracy": (step + trial.seed) / 10 * trial.params["lr"] / trial.params["width"]})
    if step:
        with trial.checkpoint(step) as path:
            path.write_text(str(step))
    if step == 3 and os.path.exists("waits"):
        with open("pid", "w") as file:
            file.write(str(os.getpid()))
        while os.path.exists("waits") and not trial.should_stop():
            time.sleep(0.01)
    if trial.should_stop():
        sys.exit()
"""


@pytest.fixture
def file(tmp_path):
    """The study's file, beside its program."""
    return write_program(tmp_path / "mine", SCRIPT)


@pytest.fixture
def study(file):
    return read_study(file)


def work(store, *files, display=None, **plan) -> int:
    """Run a worker with the programs of the files until nothing is left."""
    trainable = EligibleStudies(store, here, programs=ProgramsHere(files))
    artifacts = (files[0] if files else find("demo")).parent / "artifacts"
    plan = {"artifacts": artifacts, "timing": store.timing} | plan
    config = WorkerConfig(command=program_child(files, "cpu"), runs_programs=True, reuse=False, **plan)
    return Supervisor(store, config, display or Notes(), trainable).run()


def expected(trial) -> list[float]:
    return [(step + trial.seed) / 10 * 0.5 / trial.levels["width"] for step in range(6)]


def assert_all_are_there_once(store) -> None:
    curves = store.metrics.read("own", ["val/accuracy"])
    for trial in store.trials.all("own"):
        assert trial.state is TrialState.DONE and trial.outcome is Outcome.FINISHED
        steps, values = curves[trial.number, "val/accuracy"]
        assert list(steps) == list(range(6)) and list(values) == expected(trial)
        assert trial.final["val/accuracy"] == values[-1]
    assert store.admin.check() == []


def test_all_trials_are_run_and_recorded(store, file):
    shown = Notes()

    assert work(store, file, display=shown) == 0

    assert_all_are_there_once(store)
    assert shown.ends == ["finished"] * 4
    attempt = store.trials.get("own", 0).attempts[0]
    assert len(attempt.versions["program packages"]) == 64 and "torch" not in attempt.versions


def test_a_program_of_no_study_is_told_so(store, tmp_path):
    other = write_program(tmp_path / "other", SCRIPT, name="train.sh")
    shown = Notes()

    assert work(store, other, display=shown) == 0

    assert shown.notes_with("no unfinished study has the digest of a program here")
    assert all(trial.state is TrialState.QUEUED for trial in store.trials.all("own"))


@pytest.mark.long
@pytest.mark.parametrize("timing", [Timing(lease_s=3.0, beat_s=0.5)])
def test_a_program_may_be_silent_for_longer_than_a_lease(store, file):
    """Given a program that says nothing for longer than a lease, then its trial is done in the first attempt."""
    (file.parent / "train.py").write_text(SCRIPT.replace("    step += 1", "    step += 1; time.sleep(4 * (step == 1))"))
    store.studies.create(read_study(file, name="slow"))

    assert work(store, file, max_trials=1, studies=("slow",)) == 0

    trial = store.trials.get("slow", 0)
    assert trial.state is TrialState.DONE and len(trial.attempts) == 1


def test_several_at_once(store, file):
    assert work(store, file, slots=2) == 0

    assert_all_are_there_once(store)


def waiting(file: Path):
    """Let the program wait at its step 3."""
    (file.parent / "waits").touch()
    return lambda: (file.parent / "pid").exists() and (file.parent / "pid").read_text()


def go_on(file: Path) -> None:
    (file.parent / "waits").unlink()


def test_a_program_that_is_killed_goes_on_from_its_checkpoint(store, file):
    arrived = waiting(file)

    def kill() -> None:
        os.kill(int((file.parent / "pid").read_text()), signal.SIGKILL)
        go_on(file)

    beside = Beside(arrived, kill, interrupts=False)
    assert work(store, file) == 0
    beside.check()

    assert_all_are_there_once(store)
    (killed,) = [trial for trial in store.trials.all("own") if len(store.trials.get("own", trial.number).attempts) > 1]
    first, second = store.trials.get("own", killed.number).attempts
    assert first.end is AttemptEnd.CRASHED and "signal SIGKILL" in first.error
    assert second.first_step == 3


def test_a_worker_that_stops_gives_its_trial_back_at_its_checkpoint(store, file):
    beside = Beside(waiting(file))
    assert work(store, file) == 128 + signal.SIGINT
    beside.check()
    (file.parent / "waits").unlink()
    first = store.trials.get("own", 0)

    assert work(store, file) == 0

    assert (first.state, first.attempts[0].end) == (TrialState.QUEUED, AttemptEnd.RELEASED)
    assert [each.first_step for each in store.trials.get("own", 0).attempts] == [0, 3]
    assert_all_are_there_once(store)


@pytest.mark.parametrize(("ask_for", "state"), [("pause", TrialState.PAUSED), ("cancel", TrialState.CANCELLED)])
def test_a_trial_is_paused_or_cancelled(store, file, ask_for, state):
    arrived = waiting(file)

    def ask() -> None:
        getattr(store.control, ask_for)("own", 0)

    def stopped() -> bool:
        return store.trials.get("own", 0).state is state

    beside = Beside(arrived, ask, stopped, lambda: go_on(file), interrupts=False)
    assert work(store, file) == 0
    beside.check()

    assert store.trials.get("own", 0).state is state


def test_without_its_file_no_worker_takes_it(store, file):
    with pytest.raises(CodeUnusable, match=r"it runs the program .* `cifarsweep worker --program FILE`"):
        work(store)

    assert all(trial.state is TrialState.QUEUED for trial in store.trials.all("own"))


def test_other_files_than_those_of_the_study_are_not_run(store, file):
    (file.parent / "train.py").write_text("open('started', 'w')")

    with pytest.raises(CodeUnusable, match=r"created at 20.*: train.py was changed \(last written at 20"):
        work(store, file)

    assert not (file.parent / "started").exists()
    assert all(trial.state is TrialState.QUEUED for trial in store.trials.all("own"))


def test_a_worker_with_a_program_takes_no_other_study(store, file):
    store.studies.create(read_study(find("demo")))

    assert work(store, file) == 0

    assert_all_are_there_once(store)
    assert all(trial.state is TrialState.QUEUED for trial in store.trials.all("demo"))
    with pytest.raises(CodeUnusable, match="it runs no program"):
        work(store, file, studies=("demo",))


def test_files_that_change_while_it_works_stop_it_before_the_next_trial(store, file):
    class Changes(Notes):
        def end(self, slot, lease, how, result=None):
            super().end(slot, lease, how, result)
            (file.parent / "train.py").write_text("open('started', 'w')")

    shown = Changes()

    with pytest.raises(CodeUnusable, match="train.py was changed"):
        work(store, file, display=shown)

    states = [trial.state for trial in store.trials.all("own")]
    assert states == [TrialState.DONE] + [TrialState.QUEUED] * 3
    assert not (file.parent / "started").exists()


def test_nobody_who_writes_the_database_runs_a_command(store, file, tmp_path):
    """Every row is theirs; what runs is what the file on this disk says."""
    touched = tmp_path / "touched"
    engine = create_engine(f"sqlite:///{tmp_path}/test.db")
    with engine.begin() as connection:
        for found in connection.execute(text("SELECT cell_id, settings FROM cs_cell")).all():
            values = json.loads(found.settings)
            values["parameters"] |= {"kind": f"$(touch {touched})", "width": f"; touch {touched}; {found.cell_id}"}
            to = json.dumps(values, separators=(",", ":"))
            connection.execute(
                text("UPDATE cs_cell SET settings = :to, settings_sha256 = :digest WHERE cell_id = :id"),
                {"to": to, "digest": hashlib.sha256(to.encode()).hexdigest(), "id": found.cell_id},
            )
    engine.dispose()

    assert work(store, file) == 0

    assert not touched.exists()
    for trial in store.trials.all("own"):
        found = store.trials.get("own", trial.number)
        assert found.state is TrialState.FAILED and "only numbers are taken from the database" in found.error


def test_a_trial_whose_metric_is_not_finite_has_diverged(store, file, tmp_path):
    script = "import cifarsweep, math\ncifarsweep.trial().log(1, {'val/accuracy': math.nan})"
    other = write_program(tmp_path / "other", script)
    store.studies.create(read_study(other).model_copy(update={"name": "nan"}))

    assert work(store, other, studies=("nan",)) == 0

    assert {trial.outcome for trial in store.trials.all("nan")} == {Outcome.DIVERGED}


def test_what_a_program_does_wrong_costs_its_own_trial_alone(store, file, tmp_path):
    script = SCRIPT + "\nif trial.params['width'] == 1:\n    sys.exit('out of luck')\n"
    other = write_program(tmp_path / "other", script)
    store.studies.create(read_study(other).model_copy(update={"name": "luck"}))

    assert work(store, other, studies=("luck",)) == 0

    for trial in store.trials.all("luck"):
        found = store.trials.get("luck", trial.number)
        assert found.state is (TrialState.FAILED if trial.levels["width"] == 1 else TrialState.DONE)
        if found.state is TrialState.FAILED:
            assert found.error == "the program ended with exit code 1: out of luck"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [('["no-such-program"]', "'no-such-program' is not found on this machine"), ('["{lr}"]', "no [program]")],
)
def test_a_worker_says_at_once_what_it_can_not_start(tmp_path, command, sentence):
    file = write_program(tmp_path, SCRIPT, command=command)
    if "{" in command:
        file.write_text(file.read_text().partition("[program]")[0])

    with pytest.raises(SpecError) as error:
        parse_programs([str(file)])
    assert sentence in str(error.value)


#: Its sixth trial falls behind, and waits to be ended for it.
FALLS_BEHIND = """
import json, os, time
import cifarsweep
trial = cifarsweep.trial()
behind = json.loads(os.environ["CIFARSWEEP_TRIAL"])["trial"] == 5
for step in (1, 2, 3):
    trial.log(step, {"score": 0.1 if behind else step})
while behind and not trial.should_stop():
    time.sleep(0.01)
"""
SEARCH = """
[search]
n_trials = 6
pruner = "median"
[search.space]
lr = { low = 0.0, high = 1.0 }
"""


def test_a_search_prunes_a_trial_of_a_program(store, tmp_path):
    file = write_program(tmp_path / "search", FALLS_BEHIND, more='metric = "score"')
    head = file.read_text().partition("[settings]")[0].replace("seeds = 2", "").replace('"own"', '"find"')
    file.write_text(head + SEARCH)
    store.studies.create(read_study(file))

    assert work(store, file, studies=("find",)) == 0

    outcomes = [trial.outcome for trial in store.trials.all("find")]
    assert outcomes == [Outcome.FINISHED] * 5 + [Outcome.PRUNED]
    assert store.admin.check() == []


def test_a_script_that_may_not_be_executed_is_no_missing_one(tmp_path):
    file = write_program(tmp_path, SCRIPT, command='["./train.py"]')
    (tmp_path / "train.py").chmod(0o644)

    with pytest.raises(SpecError, match=r"'./train.py' may not be executed: chmod \+x /"):
        parse_programs([str(file)])


def test_two_files_of_one_program_serve_their_studies_with_texts_of_their_own(store, tmp_path):
    files = [write_program(tmp_path / "texts", SCRIPT, factors='kind = ["a"]\nwidth = [1]')]
    files.append(files[0].with_name("second.toml"))
    files[1].write_text(files[0].read_text().replace('"own"', '"second"').replace('"a"', '"b"'))
    store.studies.create(read_study(files[1]))
    store.studies.create(read_study(files[0]).model_copy(update={"name": "first"}))

    with pytest.raises(CodeUnusable, match="'second': its parameter 'kind' has the text 'b', which no file of"):
        work(store, files[0], studies=("second",))
    assert all(trial.state is TrialState.QUEUED for trial in store.trials.all("second"))
    assert work(store, *files, studies=("first", "second")) == 0

    for name in ("first", "second"):
        assert {trial.outcome for trial in store.trials.all(name)} == {Outcome.FINISHED}
