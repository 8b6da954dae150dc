"""The command line as a user starts it: a process of its own, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of data sets for all these tests: digits are made once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def environment(data_root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIFARSWEEP_")}
    return kept | {"CIFARSWEEP_DATA": str(data_root), "COLUMNS": "160"}


@pytest.fixture
def cli(tmp_path: Path, environment: dict[str, str]):
    """Run a command to its end."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cifarsweep.cli", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=240, check=False
        )

    return run


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]):
    """Start a command and leave it running; whatever still runs is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def _start(*arguments: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cifarsweep.cli", *arguments],
            cwd=tmp_path,
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield _start
    for process in running:
        process.kill()
        process.communicate()
