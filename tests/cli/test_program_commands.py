"""Programs of the user's own, as a user types it: run, shown, run again and passed on to workers that are launched."""

import json

import pytest
from support.program_child import write_program
from typer.testing import CliRunner

from cifarsweep.cli.app import app

SCRIPT = """
import cifarsweep, os
trial = cifarsweep.trial()
print("width", trial.params["width"])
extra = int(os.environ.get("EXTRA", 0))
for step in (1, 2):
    trial.log(step, {"val/accuracy": step / 10 + trial.seed / 100 + (extra if step == 2 else 0)})
if trial.params["width"] == 2:
    raise SystemExit("the width is too large")
"""


@pytest.mark.long
def test_a_program_is_run_shown_and_run_again(cli, call, tmp_path):
    write_program(tmp_path, SCRIPT)
    assert call("create", "own.toml").returncode == 0

    worker = cli("worker", "--cpu", "--program", "own.toml", CIFARSWEEP_LEASE="6")
    failed = call("show", "own/1")
    again = cli("replay", "own/0", "--cpu", "--program", "own.toml")
    other = cli("replay", "own/0", "--cpu", "--program", "own.toml", EXTRA="1")

    assert worker.returncode == 0, worker.stderr
    assert "own/0 width=1, seed 0: finished at 20.00 % after 2 steps" in worker.stdout + worker.stderr
    assert "the program ended with exit code 1: the width is too large" in failed.stdout
    assert "width 2" in failed.stdout
    assert json.loads(call("show", "own/0", "--json").stdout)["parameters"] == {"lr": 0.5, "width": 1}
    assert again.returncode == 0 and "own/0: reproduced. All 2 metric rows are the same" in again.stdout, again.stderr
    assert other.returncode == 1 and "own/0: not reproduced." in other.stdout
    assert "The same bits are not promised for a program" in other.stdout and "1 of 2" in other.stdout


def test_other_workers_say_how_it_is_run(call, tmp_path):
    write_program(tmp_path, SCRIPT)
    assert call("create", "own.toml").returncode == 0

    done = call("worker", "--cpu")

    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "study 'own': it runs the program" in done.stderr and "--program FILE" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["worker", "--program", "none.toml"], "none.toml: can't be read"),
        (["worker", "--program", "own.toml", "--slots", "auto"], "--slots auto is for trainings in our own loop"),
        (["worker", "--program", "own.toml", "--code", "."], "--code is for trainings in our own loop"),
        (
            ["worker", "--program", "own.toml", "--program", "two.toml"],
            "different numbers of GPUs: own.toml 1, two.toml 2",
        ),
        (["worker", "--program", "own.toml", "--gpu", "0,0"], "'0,0' names a GPU twice"),
        (["worker", "--program", "own.toml", "--gpu", "0,x"], "'0,x' is not the number of a GPU"),
        (["launch", "--gpus-per-trial", "2", "--program", "own.toml"], "--gpus-per-trial is for trainings in our own"),
        (["worker", "--program", "lost.toml"], "program.command: 'no-such-program' is not found on this machine"),
        (["replay", "own/0", "--program", "own.toml", "--code", "."], "--code is for trainings"),
        (["launch", "--cpus", "1", "--program", "lost.toml"], "'no-such-program' is not found on this machine"),
    ],
)
def test_what_can_not_be_done_with_programs_is_one_sentence(call, tmp_path, arguments, sentence):
    file = write_program(tmp_path, SCRIPT)
    (tmp_path / "two.toml").write_text(file.read_text().replace("[settings]", "gpus = 2\n[settings]"))
    (tmp_path / "lost.toml").write_text(file.read_text().replace("command = [", "command = ['no-such-program', "))
    assert call("db", "upgrade").returncode == 0

    done = call(*arguments)

    assert done.returncode == 2 and sentence in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("gpus", "given", "names"),
    [
        (1, [], [("gpu0", "--gpu=0"), ("gpu1", "--gpu=1"), ("gpu2", "--gpu=2"), ("gpu3", "--gpu=3")]),
        (2, [], [("gpu0-1", "--gpu=0,1"), ("gpu2-3", "--gpu=2,3")]),
        (2, ["--cpus", "1"], [("cpu0", "--cpu")]),
        (3, [], None),
    ],
)
def test_launch_gives_each_worker_the_gpus_of_a_trial(monkeypatch, tmp_path, gpus, given, names):
    started = []
    file = write_program(tmp_path, SCRIPT, more=f"gpus = {gpus}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFARSWEEP_DB", "sqlite:///x.db")
    monkeypatch.setattr("cifarsweep.worker.gpus.parse_gpus", lambda wanted: [0, 1, 2, 3])
    monkeypatch.setattr("cifarsweep.cli.launch.check_work", lambda *_: None)
    monkeypatch.setattr("cifarsweep.cli.launch._run", lambda members, logs: started.extend(members) or 0)

    done = CliRunner().invoke(app, ["launch", "--program", "own.toml", *given])

    if names is None:
        assert done.exit_code == 2 and "takes 3 GPUs" in done.output and not started
        return
    assert [member.name for member in started] == [name for name, _ in names]
    wanted = [(device, "--slots=1", f"--program={file}") for _, device in names]
    assert [member.command[-3:] for member in started] == wanted
