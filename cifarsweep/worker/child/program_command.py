"""The command of one trial: a program's words with the parameters of the trial in them, and its environment."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from cifarsweep.spec.program import PLACEHOLDER, SEED, Program
from cifarsweep.spec.types import Value
from cifarsweep.text import quoted
from cifarsweep.trial import VARIABLE
from cifarsweep.worker.child.program_messages import ProgramError

#: The version of the protocol between a worker and its programs.
_VERSION = 1


def fill_in(
    program: Program, parameters: Mapping[str, Value], seed: int, texts: Mapping[str, frozenset[str]]
) -> list[str]:
    """Return the command's words. Raises ProgramError for a parameter that is missing or that the file does not have.

    `parameters` come from the database. A number can do no harm; a text could be an option of the command, so it must
    be one of `texts`, those that the file on this disk has for the parameter.
    """
    words = {name: _word(name, value, texts.get(name, frozenset())) for name, value in parameters.items()}
    words[SEED] = str(seed)
    return [PLACEHOLDER.sub(lambda found: _filled(found[0], found[1], words), word) for word in program.command]


def _filled(placeholder: str, name: str | None, words: Mapping[str, str]) -> str:
    if name is None:
        return placeholder[0]  # a brace that was written twice
    if name not in words:
        raise ProgramError(
            f"can't be started: its command has {placeholder}, and the trial no parameter {quoted(name)}"
        )
    return words[name]


def _word(name: str, value: Value, texts: frozenset[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str) and value in texts:
        return value
    raise ProgramError(
        f"can't be started: the trial's parameter {quoted(name)} is {quoted(str(value))}, which the program's file "
        "on this machine does not have; only numbers are taken from the database without that"
    )


def find_command(word: str, folder: Path, environment: Mapping[str, str]) -> str | None:
    """Return the path of a command: below `folder` where it has a slash, else in $PATH; None if it is not found."""
    if "/" in word:
        word = str(folder / word)
    return shutil.which(word, path=environment.get("PATH", os.defpath))


def why_not_found(word: str, folder: Path) -> str:
    """Return, as the end of a sentence, why `find_command` found none."""
    if "/" in word and (folder / word).is_file():
        return f"may not be executed: chmod +x {folder / word}"
    return f"is not found on this machine, neither in $PATH nor, with a slash in it, below {folder}"


def program_environment(environment: Mapping[str, str], gpus: str | None) -> dict[str, str]:
    """Return the environment of a program; `gpus` is what CUDA is to see, None for all.

    `python` is that of the active environment, and where none is active that of the worker.
    """
    found, mine = environment.get("PATH", os.defpath), str(Path(sys.executable).parent)
    active = any(name in environment for name in ("VIRTUAL_ENV", "CONDA_PREFIX"))
    path = os.pathsep.join((found, mine) if active else (mine, found))
    # What Python prints is seen when it is printed, for metrics that are read from it and as a sign of life.
    variables = {"PYTHONUNBUFFERED": "1", **environment, "PATH": path}
    return variables if gpus is None else variables | {"CUDA_VISIBLE_DEVICES": gpus}


def told(
    label: str,
    parameters: Mapping[str, Value],
    seed: int,
    resume: tuple[Path, int] | None,
    scratch: Path,
    pipe: int,
) -> dict[str, str]:
    """Return the variable that tells a program of its trial; `pipe` is this process's end that it writes to."""
    study, _, number = label.rpartition("/")
    contents = {
        "version": _VERSION,
        "study": study,
        "trial": int(number) if number.isdecimal() else 0,
        "params": dict(parameters),
        "seed": seed,
        "resume": resume and {"path": str(resume[0]), "step": resume[1]},
        "folder": str(scratch / "checkpoints"),
        "stop": str(stop_file(scratch)),
        "fd": pipe,
        "pid": os.getpid(),
        "pipe": os.fstat(pipe).st_ino,
    }
    return {VARIABLE: json.dumps(contents)}


def stop_file(scratch: Path) -> Path:
    """Return the file that is there once a program is to stop."""
    return scratch / "stop"
