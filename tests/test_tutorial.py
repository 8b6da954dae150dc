"""The tutorial, by its own commands: from its study file to a verdict, with real processes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs/tutorial.md").read_text()
#: Its study, with a fifth of the training: the commands and their words are the same.
STUDY = re.search(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)[1].replace("epochs = 10", "epochs = 2")
#: Each command of the page, with what it shows of its output; empty where it shows nothing.
STEPS = [
    (line, shown if line == block.splitlines()[-1] else "")
    for block, shown in re.findall(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_command_of_the_tutorial_runs_and_says_what_the_page_shows(tmp_path: Path):
    (tmp_path / "skip-digits.toml").write_text(STUDY)

    environment = os.environ | {"COLUMNS": "160"}
    said = []
    for line, _ in STEPS:
        command = [sys.executable, "-m", *shlex.split(line.replace("cifarsweep", "cifarsweep.cli", 1))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        said.append(done.stdout)

    # What is measured differs here, so what is not is compared.
    created, planned, trained, _, reported = range(5)
    same = [line for line in STEPS[created][1].splitlines() if not line.startswith(("To train", "Each further seed"))]
    assert [line for line in same if line not in said[created]] == []
    assert STEPS[planned][1].splitlines()[0] in said[planned]
    assert names(STEPS[trained][1]) <= names(said[trained])
    assert names(STEPS[reported][1]) <= names(said[reported])
    assert "A rate of 1e-2 is at least ten points better than 3e-4: " in said[reported].replace("\n", " ")
    assert (tmp_path / "reports/skip-digits.html").exists()
    assert "reproduced" in said[-1]


def names(text: str) -> set[str]:
    """The names of cells and trials in an output."""
    return {word for word in text.split() if re.fullmatch(r"lr=\S+,|skip=\S+|skip-digits/\d+", word)}
