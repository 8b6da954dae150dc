"""What a program of the user's own reports becomes rows, checkpoints and an end."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.program_child import run_child, run_program, train_request, write_program
from support.waiting import wait_for

from cifarsweep.spec.types import Outcome
from cifarsweep.training import events
from cifarsweep.worker.child import program_run, protocol
from cifarsweep.worker.child.program import ProgramTrainer
from cifarsweep.worker.child.program_command import program_environment

LOOP = """
import cifarsweep
trial = cifarsweep.trial()
done = int(trial.resume.path.read_text()) if trial.resume else 0
assert done == (trial.resume.step if trial.resume else 0)
for step in range(done + 1, 7):
    trial.log(step, {"val/accuracy": step / 10 * trial.params["lr"], "seed": trial.seed})
    if step % 2 == 0:
        with trial.checkpoint(step) as path:
            path.write_text(str(step))
"""


def rows(script: str, folder: Path, **options) -> list[tuple[str, int, float]]:
    """The rows of a program that ends well."""
    told = run_program(write_program(folder, script, **options))
    assert told.result
    return told.rows


def failure(script: str, folder: Path, *, request: dict | None = None, **options) -> protocol.Failed:
    """How a program failed."""
    told = run_program(write_program(folder, script, **options), **(request or {}))
    assert isinstance(told.end, protocol.Failed), told.end
    return told.end


def test_its_rows_come_once_and_time_beside_them(tmp_path):
    told = run_program(write_program(tmp_path, LOOP))

    accuracies = [("val/accuracy", step, step / 10 * 0.5) for step in range(1, 7)]
    assert told.rows == [row for each in accuracies for row in (each, ("seed", each[1], 3.0))]
    assert told.end.result.outcome is Outcome.FINISHED and told.end.result.step == 6
    assert told.end.result.final["val/accuracy"] == 0.6 * 0.5
    times = [row.value for event in told.all(events.Metrics) for row in event.rows if row.name == "elapsed_s"]
    assert times == sorted(times) and len(times) == 6 and told.end.result.final["elapsed_s"] == times[-1]
    assert [each.step for each in told.checkpoints] == [6, 4, 2]


def test_it_goes_on_from_its_checkpoint_with_time_and_results_of_before(tmp_path):
    file = write_program(tmp_path, LOOP)
    before = run_program(file)

    again = run_program(file, resume=before.checkpoints[1:])

    assert again.replies[0] == events.Started(4)
    assert again.rows == [row for row in before.rows if row[1] > 4]
    first = next(row.value for row in again.all(events.Metrics)[0].rows if row.name == "elapsed_s")
    stored = next(row.value for row in before.all(events.Metrics)[3].rows if row.name == "elapsed_s")
    assert first > stored
    assert run_program(file, resume=before.checkpoints).end.result.final.keys() == before.end.result.final.keys()


def test_a_damaged_checkpoint_costs_time_only(tmp_path):
    file = write_program(tmp_path, LOOP)
    before = run_program(file)
    Path(before.checkpoints[0].path).write_bytes(b"damaged")
    Path(before.checkpoints[1].path).unlink()

    told = run_program(file, resume=before.checkpoints)

    assert [each.not_found for each in told.all(events.Rejected)] == [False, True]
    assert told.all(events.Started) == [events.Started(2)]
    assert told.rows == [row for row in before.rows if row[1] > 2]


def test_a_folder_is_a_checkpoint_too(tmp_path):
    script = """
import cifarsweep
trial = cifarsweep.trial()
if trial.resume:
    assert (trial.resume.path / "deep" / "a").read_bytes() == bytes(1000)
    assert (trial.resume.path / "b").read_text() == "b"
else:
    with trial.checkpoint(1) as path:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "a").write_bytes(bytes(1000))
        (path / "b").write_text("b")
trial.log(2, {"val/accuracy": 0.5})
"""
    file = write_program(tmp_path, script)
    before = run_program(file)

    assert isinstance(run_program(file, resume=before.checkpoints).end, events.Finished)


def test_floats_keep_every_bit_and_what_is_not_finite_is_a_result(tmp_path):
    script = """
import cifarsweep, math
trial = cifarsweep.trial()
for step, value in enumerate([0.1 + 0.2, 1e-300, math.inf, math.nan]):
    trial.log(step, {"val/accuracy": value})
"""
    told = run_program(write_program(tmp_path, script))

    assert [value for _, _, value in told.rows][:3] == [0.1 + 0.2, 1e-300, math.inf]
    assert told.end.result.outcome is Outcome.DIVERGED and math.isnan(told.end.result.final["val/accuracy"])


def test_a_last_message_without_the_end_of_its_line_counts(tmp_path):
    script = """
import cifarsweep, os
trial = cifarsweep.trial()
trial.log(1, {"val/accuracy": 0.5})
os.write(trial._pipe, b'{"log": {"step": 2, "metrics": {"val/accuracy": 0.75}}}')
"""

    assert rows(script, tmp_path)[-1] == ("val/accuracy", 2, 0.75)


def test_a_script_that_nobody_changed_is_read(tmp_path):
    script = r"""
import sys
for epoch in range(1, 4):
    for part in range(5):
        sys.stdout.write(f"\r\x1b[32m{part}/5 Acc: 1.0%\x1b[0m")
    sys.stdout.write(f"\r\x1b[1mepoch {epoch}\x1b[0m Acc: {epoch * 10}.5% loss 1,00{epoch}\r\n")
sys.stderr.write("Best: 9 at step 3")
"""
    more = r"""
[program.read]
"val/accuracy" = { pattern = 'Acc: ([\d.]+)%', scale = 0.01 }
"train/loss" = { pattern = 'epoch (?P<step>\d+).*loss (?P<value>\S+)' }
best = { pattern = 'Best: (\d+) at step (?P<step>\d+)' }
"""

    found = rows(script, tmp_path, more=more)

    assert [row for row in found if row[0] == "val/accuracy"] == [
        ("val/accuracy", epoch, float(f"{epoch}0.5") * 0.01) for epoch in (1, 2, 3)
    ]
    assert ("train/loss", 2, 1002.0) in found and ("best", 3, 9.0) in found


def test_its_command_gets_the_parameters_and_its_environment_no_database(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DB", "postgresql://me:secret@host/db")
    script = """
import os, sys, cifarsweep, json
print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))
cifarsweep.trial().log(0, {"val/accuracy": 1})
sys.exit(9)
"""
    command = (
        f'["{sys.executable}", "train.py", "--lr={{lr}}", "{{width}}", "{{flag}}", "{{{{x}}}}", "{{seed}}", "{{kind}}"]'
    )
    values = {"lr": 1e-05, "width": 64, "flag": True, "kind": "a b; $HOME"}

    found = failure(
        script,
        tmp_path,
        command=command,
        factors='kind = ["a b; $HOME"]',
        request={"settings": {"parameters": values}},
    )

    words, folder, environment = json.loads(found.traceback.splitlines()[-1])
    assert words == ["--lr=1e-05", "64", "true", "{x}", "3", "a b; $HOME"]
    assert Path(folder) == tmp_path
    assert "secret" not in str(environment) and "CIFARSWEEP_DB" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("value", ["-c", ["-c", "a"], None])
def test_a_value_that_the_file_does_not_have_reaches_no_command(tmp_path, value):
    command = f'["{sys.executable}", "train.py", "{{kind}}"]'
    touched = tmp_path / "started"

    found = failure(
        f"open({str(touched)!r}, 'w')",
        tmp_path,
        command=command,
        factors='kind = ["a", "b"]',
        request={"settings": {"parameters": {"kind": value, "lr": 0.5}}},
    )

    assert found.error.startswith("the program can't be started: the trial's parameter 'kind' is ")
    assert "which the program's file on this machine does not have" in found.error
    assert not touched.exists()


def test_files_that_were_changed_are_not_run(tmp_path):
    file = write_program(tmp_path, "open('started', 'w')")

    told = run_child(file, program="0" * 64)

    assert isinstance(told.end, protocol.DataRefused) and "were changed" in told.end.reason
    assert not (tmp_path / "started").exists()


IMPORT = "import cifarsweep, os, sys, time\ntrial = cifarsweep.trial()\n"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("trial.log(1, {'a': 1}); trial.log(1, {'a': 1})", "reported 'a' twice for step 1"),
        ("trial.log(2, {'a': 1}); trial.log(1, {'a': 1})", "reported 'a' for step 1 after step 2"),
        ("trial.log(1, {'a' * 300: 1})", "of 300 characters: a name has 1 to 64 printable characters"),
        ("trial.log(1, {'elapsed_s': 1})", "'elapsed_s', a name that is kept"),
        ("trial.log(1, {'b': 1})", "ended with exit code 0 and without its metric 'val/accuracy'; it reported 'b"),
        ("pass", "without its metric 'val/accuracy'; it reported nothing"),
        ("os.write(trial._pipe, b'x' * (10 << 20))", "more than 1,048,576 bytes in one line"),
        ("os.write(trial._pipe, b'garbage\\n')", "that is no message: 'garbage'"),
        ('os.write(trial._pipe, b\'{"log": {"step": -1, "metrics": {}}}\\n\')', "log.step"),
        ("os.write(trial._pipe, b'{}\\n')", "not one of hello, log and checkpoint"),
        ("os.write(trial._pipe, b'[' * 100000 + b'\\n')", "that is no message"),
        ("trial._send({'checkpoint': {'step': 3, 'path': 'nowhere'}})", "there is no file or folder"),
        ("with trial.checkpoint(2) as p: p.touch()\ntrial.log(2, {'a': 1})", "its checkpoint at step 2 covers already"),
        (
            "with trial.checkpoint(2) as p: p.touch()\nwith trial.checkpoint(1) as p: p.touch()",
            "saved a checkpoint at step 1 after that at 2",
        ),
        (
            "trial.log(5, {'a': 1})\nwith trial.checkpoint(4) as p: p.touch()",
            "one must cover all that was reported before",
        ),
        ("os.close(trial._pipe); trial._pipe = None", "without its metric"),
        ("sys.exit('no luck')", "ended with exit code 1: no luck"),
        ("os.kill(os.getpid(), 11)", "was ended by signal SIGSEGV"),
    ],
)
def test_what_it_does_wrong_is_said_in_a_sentence(tmp_path, script, sentence):
    found = failure(IMPORT + "print('its last words')\n" + script + "\ntime.sleep(0)", tmp_path)

    assert found.error.startswith("the program ") and sentence in found.error
    assert found.traceback.startswith(found.error) and found.traceback.endswith(("its last words", "no luck"))
    assert found.crashed is ("SIGSEGV" in sentence) and not found.out_of_memory


def test_ten_megabytes_in_a_line_of_its_output_are_no_fault(tmp_path):
    script = IMPORT + "print('x' * (10 << 20)); print('y' * (10 << 20), end=''); trial.log(1, {'val/accuracy': 1})"

    assert rows(script, tmp_path) == [("val/accuracy", 1, 1.0)]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ('["no-such-command"]', "the command 'no-such-command' is not found on this machine"),
        ('["./train.txt"]', "the command './train.txt' is not found on this machine"),
        ('["./train.py"]', "can't be started: Exec format error"),
    ],
)
def test_a_command_that_can_not_be_started_is_named(tmp_path, command, sentence):
    file = write_program(tmp_path, "no script of a shell", command=command)
    (tmp_path / "train.py").chmod(0o755)

    told = run_program(file)

    assert sentence in told.end.error


def test_a_program_without_memory_may_be_tried_elsewhere(tmp_path):
    assert failure("raise RuntimeError('CUDA out of memory. Tried to allocate')", tmp_path).out_of_memory


def test_one_that_says_nothing_is_ended(tmp_path):
    found = failure(IMPORT + "time.sleep(1000)", tmp_path, request={"silence_s": 0.5})

    assert "wrote nothing for 0.5 s and was ended" in found.error and found.crashed


def test_it_may_be_silent_as_long_as_its_file_says(tmp_path):
    script = IMPORT + "time.sleep(1.5); trial.log(1, {'val/accuracy': 1})"
    file = write_program(tmp_path, script, more="silence_s = 300")

    told = run_program(file, silence_s=0.1)

    assert isinstance(told.end, events.Finished)
    assert told.all(events.Progress), "nothing tells the worker that it lives"


def once_it_reports(told) -> bool:
    return bool(told.rows)


def test_it_is_asked_to_stop_and_saves(tmp_path):
    script = (
        IMPORT
        + """
trial.log(1, {"val/accuracy": 0})
while not trial.should_stop():
    time.sleep(0.01)
with trial.checkpoint(2) as path:
    path.write_text("saved")
sys.exit(3)
"""
    )
    told = run_program(write_program(tmp_path, script), stop=once_it_reports)

    assert told.end == events.Stopped(2) and told.checkpoints[0].step == 2


def test_one_that_does_not_speak_gets_sigterm_at_once(tmp_path):
    script = r"""
import signal, sys, time
def end(*_):
    print("Acc: 2%", flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
print("Acc: 1%", flush=True)
time.sleep(1000)
"""
    more = "[program.read]\n\"val/accuracy\" = { pattern = 'Acc: (\\d)%' }"

    told = run_program(write_program(tmp_path, script, more="stop_s = 3000\n" + more), stop=once_it_reports)

    assert told.end == events.Stopped(0) and told.rows == [("val/accuracy", 1, 1.0), ("val/accuracy", 2, 2.0)]


def test_one_that_does_not_end_is_killed(tmp_path, monkeypatch):
    script = (
        IMPORT
        + """
import signal
signal.signal(signal.SIGTERM, lambda *_: trial.log(2, {"val/accuracy": 0}))
trial.log(1, {"val/accuracy": 0})
while True:
    time.sleep(1000)
"""
    )
    heard: list[int] = []
    kill = program_run.ProgramProcess.kill
    monkeypatch.setattr(program_run, "_KILL_AFTER_S", 0.0)
    # It is asked before it is killed; a slow machine may take its time to do as it says.
    monkeypatch.setattr(program_run.ProgramProcess, "kill", lambda process: kill(process) if 2 in heard else None)

    def stop(told) -> bool:
        heard[:] = [step for _, step, _ in told.rows]
        return once_it_reports(told)

    told = run_program(write_program(tmp_path, script, more="stop_s = 0"), stop=stop)

    assert told.end == events.Stopped(0)
    assert [step for _, step, _ in told.rows] == [1, 2]


#: Starts three processes: in its group, in a session of their own, and one whose parent has ended. All ignore SIGTERM.
FAMILY = (
    IMPORT
    + """
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import time; time.sleep(1000)"]
orphan = f"import subprocess; print(subprocess.Popen({sleeper}, stdout=2, start_new_session=True).pid)"
pids = [subprocess.Popen(sleeper).pid, subprocess.Popen(sleeper, start_new_session=True).pid]
pids.append(int(subprocess.run([sys.executable, "-c", orphan], stdout=subprocess.PIPE).stdout))
with open("pids", "w") as file:
    file.write(" ".join(map(str, [os.getpid(), *pids])))
trial.log(1, {"val/accuracy": 1})
"""
)


def family(folder: Path) -> list[psutil.Process]:
    found = []
    for pid in (folder / "pids").read_text().split():
        try:
            found.append(psutil.Process(int(pid)))
        except psutil.NoSuchProcess:
            continue
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_one_that_forks_and_stays_ends_with_its_first_process(tmp_path):
    told = run_program(write_program(tmp_path, FAMILY))

    assert isinstance(told.end, events.Finished)
    assert told.end.result.remark == "the program left 3 processes behind, which ended with it"
    assert not alive(family(tmp_path))


def test_helpers_of_a_library_that_end_by_themselves_are_not_spoken_of(tmp_path):
    """Such as the process of `multiprocessing` that looks after shared memory until its program has ended."""
    helper = "subprocess.Popen(['cat'], stdin=subprocess.PIPE)\ntrial.log(1, {'val/accuracy': 1})"

    told = run_program(write_program(tmp_path, f"{IMPORT}import subprocess\n{helper}"))

    assert isinstance(told.end, events.Finished) and told.end.result.remark == ""


def test_a_line_that_is_too_long_to_be_searched_is_spoken_of(tmp_path):
    told = run_program(write_program(tmp_path, f"{IMPORT}print('x' * 10_000_000)\ntrial.log(1, {{'val/accuracy': 1}})"))

    assert "a line of more than 16,384 characters: the rest was not searched" in told.end.result.remark


def test_nothing_of_it_is_left_when_its_failure_is_told(tmp_path):
    """With the failure the lease ends, and another worker may start the trial."""
    file = write_program(tmp_path, FAMILY + "os.write(trial._pipe, b'garbage\\n')\ntime.sleep(1000)")
    trainer = ProgramTrainer([file], program_environment(os.environ, ""))

    for reply in trainer.train(train_request(file), lambda: False):
        left = alive(family(tmp_path)) if isinstance(reply, events.Metrics | protocol.Failed) else []

    assert isinstance(reply, protocol.Failed) and not left


@pytest.mark.parametrize("victim", ["kill", "worker", "child", "guard", "program"])
def test_whoever_is_killed_none_of_its_processes_stays(tmp_path, victim):
    left: list[psutil.Process] = []

    def kill(child, reply) -> bool:
        if not isinstance(reply, events.Metrics):
            return False
        left.extend(alive(family(tmp_path)))
        guard = psutil.Process(left[0].ppid())
        match victim:
            case "worker":
                child._stdin.close()  # as the kernel does for a worker that is killed
                wait_for(lambda: not alive(left))
            case "child":
                os.kill(child.pid, signal.SIGKILL)
            case "guard":
                guard.kill()
            case "program":
                left[0].kill()
        return victim in ("kill", "worker", "child")  # and then `ChildProcess.kill` comes

    told = run_child(write_program(tmp_path, FAMILY + "time.sleep(1000)"), kill)

    assert len(left) == 4
    wait_for(lambda: not alive(left), what=lambda: str(alive(left)))
    if victim in ("guard", "program"):
        assert "was ended by signal SIGKILL" in told.end.error and told.end.crashed


def test_scratch_of_a_killed_child_goes_with_the_next_one(tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    script = IMPORT + "trial.log(1, {'val/accuracy': 1})\n"
    waits = write_program(tmp_path / "a", script + "time.sleep(1000)")

    run_child(waits, lambda _, reply: isinstance(reply, events.Metrics))
    (left,) = temporary.iterdir()
    run_child(write_program(tmp_path / "b", script))

    assert not left.exists()


def test_versions_tell_python_packages_and_the_state_of_the_files(tmp_path):
    file = write_program(tmp_path, LOOP)

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=me", "-c", "user.email=me@here", *words], check=True)

    def versions() -> dict[str, str]:
        told = run_child(file, lambda _, reply: isinstance(reply, protocol.Ready))
        assert told.ready is not None
        return told.ready.versions

    assert "program git" not in versions()
    git("init", "-q")
    git("add", "own.toml")
    git("commit", "-q", "-m", "without the program")
    without = versions()
    git("add", ".")
    git("commit", "-q", "-m", "all")
    clean = versions()
    (tmp_path / "notes.txt").write_text("no file of the program")
    assert versions() == clean
    (tmp_path / "own.toml").write_text((tmp_path / "own.toml").read_text() + "# changed")

    assert clean["python"] == ".".join(map(str, sys.version_info[:3]))
    assert len(clean["program packages"]) == 64 and len(clean["program git"]) == 40
    assert versions()["program git"] == clean["program git"] + " with changes"
    assert without["program git"].endswith(" with changes")


@pytest.mark.parametrize("stops", [True, False])
def test_a_signal_to_the_whole_job_is_no_failure_where_the_worker_stops_too(tmp_path, stops):
    script = IMPORT + "trial.log(1, {'val/accuracy': 1})\nos.kill(os.getpid(), 15)\ntime.sleep(1000)"

    told = run_program(write_program(tmp_path, script), stop=lambda told: stops and bool(told.rows))

    if stops:
        assert told.end == events.Stopped(0)
    else:
        assert "was ended by signal SIGTERM" in told.end.error and told.end.crashed
