"""Reads the files of a folder as members, with the same rules as an archive's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cifarsweep.data.members import Limits, Member, check_size, location, safe_parts
from cifarsweep.errors import DataError

#: <top>/<split>/<class>/<file> is as deep as it gets.
_DEEPEST = 4


def folder_members(folder: Path, limits: Limits) -> Iterator[Member]:
    """Every file and folder below. Raises DataError for links, special files and what can't be read."""
    try:
        yield from _below(folder, "", folder.name, limits)
    except OSError as error:
        raise DataError(f"can't read {error.filename or folder}: {error.strerror or error}") from error


def _below(folder: Path, prefix: str, source: str, limits: Limits) -> Iterator[Member]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            where = location(source, name)
            parts = safe_parts(name, where)
            if entry.is_symlink():
                raise DataError(f"{where} is a link; put the file itself into the folder")
            if entry.is_dir():
                yield Member(parts, where, None)
                if len(parts) < _DEEPEST:
                    yield from _below(Path(entry.path), f"{name}/", source, limits)
            elif entry.is_file():
                check_size(entry.stat().st_size, where, limits)
                yield Member(parts, where, Path(entry.path).read_bytes())
            else:
                raise DataError(f"{where} is a device or another special file; only plain files and folders are read")
