"""What a program's results depend on beside its files: its Python, its packages and its git commit."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from cifarsweep.spec.program_reader import LocalProgram
from cifarsweep.spec.provenance import PROGRAM_GIT, PROGRAM_PACKAGES
from cifarsweep.worker.child.program_command import find_command

PYTHON = "python"
_PYTHON_NAME = re.compile(r"python(\d+(\.\d+)?)?")
_SHEBANG = re.compile(rb"#!\s*(\S*/)?(env\s+(-S\s+)?)?(?P<command>\S+)")
#: Prints the version of a Python, and the digest of what `pip freeze` would list, without pip, which may be absent.
_ASK_PYTHON = """
import hashlib, platform
from importlib.metadata import distributions
names = {f"{d.metadata['Name']}=={d.version}".lower() for d in distributions()}
print(platform.python_version(), hashlib.sha256("\\n".join(sorted(names)).encode()).hexdigest())
"""
_LONGEST_S = 60.0


def program_versions(programs: Iterable[LocalProgram], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of all programs, as far as they are known; those that differ stand side by side."""
    found: dict[str, dict[str, None]] = {}
    for each in programs:
        for name, version in {**_python(each, environment), **_git(each, environment)}.items():
            found.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in found.items()}


def _python(local: LocalProgram, environment: Mapping[str, str]) -> dict[str, str]:
    path = find_command(local.program.command[0], local.folder, environment)
    python = path and interpreter(path, environment)
    # Not in the user's folder, whose modules may have any name.
    answer = python and _output([python, "-c", _ASK_PYTHON], Path("/"), environment)
    version, _, digest = (answer or "").strip().partition(" ")
    return {PYTHON: version, PROGRAM_PACKAGES: digest} if digest else {}


def interpreter(path: str, environment: Mapping[str, str]) -> str | None:
    """Return the Python that runs a command: itself, or that of a script such as `torchrun`; None if there is none."""
    if _PYTHON_NAME.fullmatch(Path(path).name):
        return path
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if found := _SHEBANG.match(file.readline(4096)):
            command = os.fsdecode(found["command"])
            whole = os.fsdecode((found[1] or b"") + found["command"]) if not found[2] else command
            if _PYTHON_NAME.fullmatch(command.rpartition("/")[2]):
                return find_command(whole, Path("/"), environment)
    return None


def _git(local: LocalProgram, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the commit of the program's folder, and whether its files or others that git knows were changed since."""
    commit = _output(["git", "rev-parse", "HEAD"], local.folder, environment)
    if not commit:
        return {}
    changed = _output(["git", "status", "--porcelain", "--untracked-files=no"], local.folder, environment)
    # Relative to the folder, as those of the program are.
    known = set((_output(["git", "ls-files", "-z", "."], local.folder, environment) or "").split("\0"))
    clean = changed == "" and all(file.path in known for file in local.program.files)
    return {PROGRAM_GIT: commit.strip() + ("" if clean else " with changes")}


def _output(command: list[str], folder: Path, environment: Mapping[str, str]) -> str | None:
    """Return what a command prints; None if it fails."""
    # Another process's git must not wait for ours, which only reads.
    variables = {**environment, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        found = subprocess.run(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LONGEST_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if found.returncode else found.stdout.decode(errors="replace")
