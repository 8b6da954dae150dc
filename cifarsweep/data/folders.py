"""Reads the files of a folder as members, with the same rules as an archive's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cifarsweep.data.members import LINK, SPECIAL, Limits, Member, Wanted, check_size, is_litter, location, safe_parts
from cifarsweep.errors import DataError


def folder_members(folder: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    """Every file and folder below, in the order of their names. Raises DataError for what can't be read."""
    try:
        yield from _below(folder, "", folder.name, limits, wanted)
    except RecursionError:
        raise DataError(f"{folder} has too many folders in one another; import a folder that holds images") from None
    except OSError as error:
        raise DataError(f"can't read {error.filename or folder}: {error.strerror or error}") from error


def _below(folder: Path, prefix: str, source: str, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = f"{prefix}{entry.name}"
        where = location(source, name)
        if is_litter((entry.name,)):
            yield Member((entry.name,), where, None)
            continue
        try:
            parts = safe_parts(name, where)
        except DataError as error:
            yield Member(tuple(name.split("/")), where, b"", str(error).removeprefix(where).strip())
            continue
        if entry.is_symlink():
            yield Member(parts, where, b"", LINK)
        elif entry.is_dir():
            yield Member(parts, where, None)
            yield from _below(Path(entry.path), f"{name}/", source, limits, wanted)
        elif entry.is_file():
            yield Member(parts, where, _bytes(entry, where, limits) if wanted(parts) else b"")
        else:
            yield Member(parts, where, b"", SPECIAL)


def _bytes(entry: os.DirEntry[str], where: str, limits: Limits) -> bytes:
    check_size(entry.stat().st_size, where, limits)
    return Path(entry.path).read_bytes()
