"""Where an export goes: it appears whole or not at all, and takes the place only of what an export may have written."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cifarsweep.errors import OutputError
from cifarsweep.files import beside, locked, part

#: The event file of every run that is exported for TensorBoard.
EVENT_FILE = "events.out.tfevents.0.cifarsweep"
#: What lies beside an SQLite file and belongs to it.
_DATABASE_SUFFIXES = ("", "-wal", "-journal", "-shm", ".lock")
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A file, or with `folder` a folder of event files, that an export of `database` becomes."""

    path: Path
    force: bool
    """Whether it may take the place of an export that is there already."""
    folder: bool = False
    database: Path | None = None
    """The SQLite file that is read, if it is one."""

    @contextmanager
    def whole(self) -> Iterator[Path]:
        """A path to write to that takes its place at the end, and leaves nothing behind after an error.

        Raises OutputError where something is there that must stay, or where the folder can't be written.
        """
        place = Path(os.path.realpath(self.path))
        try:
            self._check(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            with part(place, folder=self.folder) as written:
                yield written
                # Again: minutes may have passed.
                self._check(place)
                _put(written, place)
        except OSError as error:
            raise OutputError(f"{self} can't be written: {error.strerror or error}") from None

    def __str__(self) -> str:
        text = str(self.path)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."

    def _check(self, place: Path) -> None:
        if self.database and _is_part(place, self.database):
            raise OutputError(f"{self} belongs to the database that is read; give another --out")
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            self._check_folder(place)
        elif not stat.S_ISREG(mode):
            raise OutputError(f"{self} is neither a file nor a folder; give another --out, or - for standard output")
        elif self.folder:
            raise OutputError(f"{self} is a file, and TensorBoard reads a folder; give another --out")
        if not self.force:
            raise OutputError(f"{self} is there already; give another --out, or --force to replace it")

    def _check_folder(self, place: Path) -> None:
        """Refuse every folder that anybody else may want to keep, whatever was forced."""
        if not self.folder:
            raise OutputError(f"{self} is a folder; name a file with --out")
        for what, inside in (("working folder", Path.cwd()), ("database", self.database)):
            if inside and place in (resolved := Path(os.path.realpath(inside)), *resolved.parents):
                raise OutputError(f"{self} holds the {what}, so it is not replaced; give another --out")
        if self.force and (other := _foreign(place)):
            raise OutputError(f"{self} holds {other}, which no export wrote, so it is not replaced; give another --out")


def _is_part(place: Path, database: Path) -> bool:
    for base in (database, Path(os.path.realpath(database))):
        for own in (base.with_name(base.name + suffix) for suffix in _DATABASE_SUFFIXES):
            # By name as well: a file that is called like a journal is taken for one.
            if place == own or (place.exists() and own.exists() and place.samefile(own)):
                return True
    return False


def _foreign(folder: Path) -> str | None:
    """The first thing below the folder that is neither a folder nor an event file of ours."""
    for here, folders, files in os.walk(folder, onerror=_raised):
        for path in (Path(here, name) for name in sorted([*folders, *files])):
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and path.name == EVENT_FILE):
                return str(path.relative_to(folder))
    return None


def _raised(error: OSError) -> None:
    raise error


def _put(written: Path, place: Path) -> None:
    """Put what was written in its place; a folder that was there goes only after that."""
    if not place.is_dir():
        os.replace(written, place)
        return
    with locked(place):
        old = beside(place.parent, "old")
        os.rename(place, old)
        try:
            os.rename(written, place)
        except OSError:
            os.rename(old, place)
            raise
        shutil.rmtree(old)
