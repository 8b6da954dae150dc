"""The example of a network of one's own: the commands of its README, with real processes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store

EXAMPLE = Path(__file__).parents[1] / "examples" / "own-network"
COMMANDS = re.search(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)[1].strip().splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example"))


def run(folder: Path, *arguments: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIFARSWEEP_")}
    done = subprocess.run(
        [sys.executable, "-m", "cifarsweep.cli", *arguments],
        cwd=folder,
        env=kept | {"CIFARSWEEP_DATA": str(folder / "data"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_commands_of_the_readme(folder: Path) -> None:
    created, _, reported, replayed = (run(folder, *line.split()[1:]) for line in COMMANDS)

    assert "6 trials added" in created and "The gate helps" in created
    assert "With the gate the right class stands out more" in reported
    assert "own-network/0: reproduced" in replayed
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        trials = store.trials.all("own-network")
    assert {trial.state for trial in trials} == {TrialState.DONE}
    names = {"val/top5_accuracy", "val/calibration_error", "val/margin"}
    assert all(names <= trial.final.keys() and trial.final["val/accuracy"] > 0.15 for trial in trials)
    (page,) = folder.rglob("own-network.html")
    text = page.read_text()
    assert "worker --study own-network --cpu --code ." in text and "blocks.py" in text and "val/margin" in text
    assert not list(folder.rglob("*.pyc"))
