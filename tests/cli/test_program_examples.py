"""The examples of programs, by the commands that the README has for them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifarsweep.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """As in an activated virtual environment: `python` is the one that has everything."""
    return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}


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
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize(
    ("name", "file", "trials"), [("own-script", "rates", 15), ("unchanged-script", "optimizers", 10)]
)
def test_each_example_is_a_study(call, example, name, file, trials):
    example(name)

    created = call("create", f"{file}.toml")

    assert created.returncode == 0 and f"{trials} trials added" in created.stdout


def test_a_script_with_five_lines_more_runs_by_hand(example, tmp_path):
    folder = example("own-script")

    said = printed(folder / "train.py", "--epochs", "2", cwd=tmp_path)

    assert re.fullmatch(r"(step \d  train/loss [\d.]+  val/accuracy [\d.]+\n){2}", said)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-1", "step-2"]
