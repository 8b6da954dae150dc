"""A check in a process of its own, which may import torch: how it is started and what it answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TypedDict

from cifarsweep.environment import without_database
from cifarsweep.errors import CifarsweepError, SpecError


class Problem(TypedDict):
    """A cell and what is wrong with its settings."""

    cell: str
    text: str


class Answer(TypedDict):
    """The child's answer: cells that can't train, those that can't train everywhere, and what networks cost."""

    problems: list[Problem]
    notes: list[Problem]
    flops: dict[str, int]
    """Of one image forward, by cell."""


def run_module(module: str, arguments: Sequence[str] = (), stdin: str = "") -> str:
    """Run `python -m module` and return what it printed.

    Raises SpecError with its stderr if it exits with 2, the exit code for bad input.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=without_database(),
    )
    if done.returncode == SpecError.exit_code:
        raise SpecError(done.stderr.strip())
    if done.returncode:
        raise CifarsweepError(f"python -m {module} ended with exit code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout
