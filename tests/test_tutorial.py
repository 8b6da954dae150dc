"""The tutorial, by its own commands: from its study file to a verdict, with real processes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs/tutorial.md").read_text()
STUDY = re.search(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)[1]
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

    said = []
    for line, _ in STEPS:
        command = [sys.executable, "-m", *shlex.split(line.replace("cifarsweep", "cifarsweep.cli", 1))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        said.append(done.stdout)

    # Measured numbers differ between processors in their last digits, so what is no measurement is compared.
    created, planned, trained, _, reported = range(5)
    assert all(line in said[created] for line in STEPS[created][1].splitlines())
    assert STEPS[planned][1].splitlines()[0] in said[planned]
    assert names(STEPS[trained][1]) <= names(said[trained])
    assert names(STEPS[reported][1]) <= names(said[reported])
    assert "A rate of 1e-2 is at least ten points better than 3e-4: " in said[reported]
    assert (tmp_path / "reports/skip-digits.html").exists()
    assert "reproduced" in said[-1]


def names(text: str) -> set[str]:
    """The names of cells and trials in an output."""
    return {word for word in text.split() if re.fullmatch(r"lr=\S+,|skip=\S+|skip-digits/\d+", word)}
