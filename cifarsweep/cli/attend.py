"""`attend`: what `launch --hosts` starts on each host. It is for no person, so that help does not show it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def attend(logs: Path, arguments: Annotated[list[str], typer.Argument()]) -> None:
    """Start `launch` with these arguments, or join it where it runs; standard input says the rest."""
    from cifarsweep.worker.launch.attendant import attend as run

    command = [sys.executable, "-m", "cifarsweep.cli", "launch", *arguments, f"--logs={logs}"]
    raise typer.Exit(run(logs, command, typer.echo))
