"""The examples of programs, by the commands that the page on scripts has for them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """As in an activated virtual environment: `python` is the one that has everything."""
    # One thread: several on a busy machine wait for each other.
    return environment | {
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
    }


@pytest.fixture
def example(tmp_path: Path):
    """Copy an example to the empty folder, as `cd examples/NAME` is in a clone."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / name, tmp_path, dirs_exist_ok=True))

    return copy


def opened(folder: Path) -> Store:
    return Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True)


def printed(script: Path, *arguments: str, cwd: Path) -> str:
    """What a script prints that is run by hand."""
    command = [sys.executable, str(script), *arguments]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize(
    ("name", "file", "trials"), [("own-script", "rates", 15), ("unchanged-script", "optimizers", 10)]
)
def test_each_example_is_a_study(call, example, name, file, trials):
    example(name)

    created = call("create", f"{file}.toml")

    assert created.returncode == 0 and f"{trials} trials added" in created.stdout


@pytest.mark.long
def test_a_script_with_five_lines_more_is_a_study(call, cli, example, tmp_path):
    # given the study of the example, with one seed
    folder = example("own-script")
    created = call("create", "rates.toml", "--seeds", "1", "--set", "epochs=4")
    assert created.returncode == 0, created.stderr

    # when a worker that has the file trains it
    worked = cli("worker", "--cpu", "--program", "rates.toml")

    # then all are done, to what the script without these lines prints
    assert worked.returncode == 0, worked.stdout + worked.stderr
    with opened(folder) as store:
        rows = store.trials.all("own-rates")
        found = store.metrics.read("own-rates", ["val/accuracy", "train/loss"])
    assert [row.state for row in rows] == [TrialState.DONE] * 3
    steps, values = found[0, "val/accuracy"]
    plain = printed(folder / "train_plain.py", "--lr", "0.1", "--epochs", "4", cwd=tmp_path)
    assert [f"{value:.4f}" for value in values] == re.findall(r"accuracy ([\d.]+)", plain)
    assert steps.tolist() == [1, 2, 3, 4] and values[-1] > 0.7

    # and the report speaks of it
    reported = call("report", "own-rates", "--json")
    assert reported.returncode == 0, reported.stderr
    cells = json.loads(reported.stdout)
    assert "lr=0.1" in json.dumps(cells)


@pytest.mark.long
def test_a_script_with_five_lines_more_runs_by_hand(example, tmp_path):
    folder = example("own-script")

    said = printed(folder / "train.py", "--epochs", "2", cwd=tmp_path)

    assert re.fullmatch(r"(step \d  train/loss [\d.]+  val/accuracy [\d.]+\n){2}", said)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-1", "step-2"]


@pytest.mark.long
def test_a_script_that_nobody_changes_is_a_study(call, cli, example):
    # given
    folder = example("unchanged-script")
    created = call("create", "optimizers.toml", "--seeds", "1", "--set", "epochs=3")
    assert created.returncode == 0, created.stderr

    # when
    worked = cli("worker", "--cpu", "--program", "optimizers.toml")

    # then what it prints are the metrics of both cells
    assert worked.returncode == 0, worked.stdout + worked.stderr
    with opened(folder) as store:
        rows = store.trials.all("unchanged-optimizers")
        found = store.metrics.read("unchanged-optimizers", ["val/accuracy", "train/loss"])
    assert [row.state for row in rows] == [TrialState.DONE] * 2
    for number, optimizer in enumerate(("sgd", "adam")):
        said = printed(folder / "train.py", "--optimizer", optimizer, "--epochs", "3", cwd=folder)
        shares = [float(percent) / 100 for percent in re.findall(r"acc: ([\d.]+)%", said)]
        steps, values = found[number, "val/accuracy"]
        assert steps.tolist() == [1, 2, 3] and values.tolist() == pytest.approx(shares, abs=1e-9)
        assert found[number, "train/loss"][0].tolist() == [1, 2, 3]


def test_a_worker_without_the_program_or_with_another_one_trains_nothing(call, cli, example):
    # given a study of which one file was changed since
    folder = example("own-script")
    assert call("create", "rates.toml", "--seeds", "1").returncode == 0
    with (folder / "train.py").open("a") as file:
        file.write("print('changed')\n")

    # when a worker comes without and with the program
    without, other = cli("worker", "--cpu"), cli("worker", "--cpu", "--program", "rates.toml")

    # then both say why they train nothing
    assert "--program" in without.stdout + without.stderr
    assert "train.py was changed" in " ".join((other.stdout + other.stderr).split())
    with opened(folder) as store:
        assert [row.attempts for row in store.trials.all("own-rates")] == [()] * 3
