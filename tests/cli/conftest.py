"""The command line as a user starts it, in an empty folder."""

import functools
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import typer.main

from cifarsweep.cli.main import main


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
    """Run a command to its end, in a process of its own."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cifarsweep.cli", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=240, check=False
        )

    return run


@pytest.fixture(autouse=True, scope="session")
def commands_made_once() -> Iterator[None]:
    """Let Typer keep the commands that it makes of our functions, which it would make anew for each line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def call(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """Run a command to its end as `cli` does, but in this process: without the second that imports take."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        printed, complained = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patch, mock.patch.dict(os.environ, environment | more, clear=True):
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["cifarsweep", *arguments])
            # Else the name of the program is that of `python -m pytest`, where that runs the tests.
            patch.setattr(sys.modules["__main__"], "__package__", None)
            patch.setattr(sys, "stdout", printed)
            patch.setattr(sys, "stderr", complained)
            with pytest.raises(SystemExit) as ended:
                main()
        said = (stream.buffer.getvalue().decode() for stream in (printed, complained))
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, *said)

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
