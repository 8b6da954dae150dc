"""A question to a module that needs torch, asked from a process that does not import it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from cifarsweep.environment import without_database
from cifarsweep.errors import CifarsweepError, SpecError


def run_module(module: str, arguments: Sequence[str] = (), stdin: str = "") -> str:
    """Run `python -m module` to its end and return what it printed.

    Raises SpecError with its last words where it exits with 2, which is how our modules refuse bad input.
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
