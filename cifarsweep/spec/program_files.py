"""The files of a user's own program: which ones belong to it, and the digests of their contents."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from cifarsweep.errors import SpecError
from cifarsweep.spec.program import ProgramFile

#: More files than this are a pattern that takes in too much, such as a folder of data.
MOST_FILES = 10_000
#: Python writes it whenever it imports a module: it is no part of a program.
_CACHE = "__pycache__"


def program_files(patterns: Sequence[str], folder: Path, where: str, study_file: str = "") -> tuple[ProgramFile, ...]:
    """Return the files that the patterns match from the folder, each once, by path. `**` matches folders at any depth.

    What begins with a dot is matched only by a pattern that says so; `__pycache__` and the `study_file` never, as that
    may get more seeds.

    Raises SpecError for a pattern without a file, and for a file that is outside of the folder, no regular one, or
    can't be read.
    """
    paths: set[str] = set()
    for pattern in patterns:
        matched = False
        for path in _matches(pattern, folder, where):
            if path != study_file:
                matched = True
                paths.add(path)
            if len(paths) > MOST_FILES:
                raise SpecError(f"{where}: {pattern!r}: matches more than {MOST_FILES:,} files; name the program's own")
        if not matched:
            raise SpecError(f"{where}: {pattern!r}: matches no file in {folder}")
    return tuple(ProgramFile(path=path, sha256=_digest(folder / path, where)) for path in sorted(paths))


def _matches(pattern: str, folder: Path, where: str) -> Iterator[str]:
    outside = f"{where}: {pattern!r}: is outside of {folder}, the folder of the study's file"
    if not pattern or "\0" in pattern:
        raise SpecError(f"{where}: {pattern!r}: is no path")
    if PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
        raise SpecError(f"{outside}; move the study's file or the program")
    root = folder.resolve()
    for found in glob.iglob(pattern, root_dir=folder, recursive=True):
        path = PurePath(found).as_posix()
        if _CACHE in PurePath(found).parts or (folder / found).is_dir():
            continue
        if not (folder / found).resolve().is_relative_to(root):
            raise SpecError(f"{where}: {path!r}: leads outside of {folder}, the folder of the study's file")
        if not path.isprintable():
            raise SpecError(f"{where}: {path!r}: has characters that can't be printed; rename the file")
        yield path


def _digest(path: Path, where: str) -> str:
    try:
        # Opened without waiting: a pipe would wait for somebody to write into it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpecError(f"{where}: {path.name!r}: is no regular file")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(f"{where}: {path.name!r}: can't be read: {error.strerror}") from None
