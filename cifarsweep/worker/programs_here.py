"""The programs that a worker may run: those of the study files that its own command line names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from cifarsweep.errors import CodeUnusable, SpecError
from cifarsweep.spec.program import Program
from cifarsweep.spec.program_reader import LocalProgram, changed_files, read_program, values_of
from cifarsweep.spec.study import Study
from cifarsweep.store.records import StoredStudy
from cifarsweep.text import quoted
from cifarsweep.worker.child.program_command import find_command, program_environment, why_not_found

_Stamp = tuple[tuple[int, int, int] | None, ...]
#: Changes that one message names.
_MOST_NAMED = 3


def parse_programs(given: Iterable[str]) -> tuple[Path, ...]:
    """Return the study files as whole paths. Raises SpecError for one whose program can't be started here."""
    files = tuple(dict.fromkeys(Path(text).absolute() for text in given))
    environment = program_environment(os.environ, None)
    for file in files:
        local = read_program(file)
        word = local.program.command[0]
        if "{" not in word and find_command(word, local.folder, environment) is None:
            raise SpecError(f"{file}: program.command: {quoted(word)} {why_not_found(word, local.folder)}")
    return files


def gpus_of(files: Sequence[Path]) -> int:
    """Return the GPUs of a trial, 1 without a program. Raises SpecError where the programs take different numbers."""
    found = {file: read_program(file).program.gpus for file in files}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{file.name} {count}" for file, count in found.items())
        raise SpecError(
            f"--program: the trials of these programs take different numbers of GPUs: {listed}; give them apart"
        )
    return next(iter(found.values()), 1)


class ProgramsHere:
    """The programs of these files, which are read again once one of them has changed.

    With at least one file a worker trains studies of these programs alone, without one none of any program.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self.files = tuple(files)
        self._read: dict[Path, tuple[_Stamp, LocalProgram | SpecError]] = {}

    def concern(self, study: Study) -> bool:
        """Return whether this worker is asked about a study: of all, or of those of programs like its own."""
        if not self.files:
            return True
        return study.program is not None and any(_are_alike(study.program, here) for here in self._programs())

    def check(self, stored: StoredStudy) -> None:
        """Raise CodeUnusable for a study that this worker does not train, and say which file differs since when."""
        name, program = stored.spec.name, stored.spec.program
        if program is None:
            if self.files:
                raise CodeUnusable(
                    f"study {name!r}: it runs no program, and a worker with --program trains studies of its programs "
                    "alone: start another one without it"
                )
            return
        if not self.files:
            raise CodeUnusable(
                f"study {name!r}: it runs the program {quoted(' '.join(program.command))}; `cifarsweep worker "
                "--program FILE`, with the study's file, trains it where all files of the program have the digests of "
                f"the study ({program.sha256[:12]}...)"
            )
        same = [here for here in self._programs() if here.program.sha256 == program.sha256]
        if not same:
            problems = [self._difference(file, program, stored.created_at) for file in self.files]
            raise CodeUnusable(f"study {name!r}: {'; '.join(problems)}")
        unknown = [here.unknown_text(values_of(stored.spec)) for here in same]
        if all(unknown) and (found := unknown[0]):
            raise CodeUnusable(
                f"study {name!r}: its parameter {quoted(found[0])} has the text {quoted(found[1])}, which no file of "
                "--program has, and no other text is put into a command: name the study's own file"
            )

    def forget(self) -> None:
        """Read all files again, since a child found that they have changed."""
        self._read.clear()

    def _programs(self) -> list[LocalProgram]:
        return [found for file in self.files if isinstance(found := self._current(file), LocalProgram)]

    def _current(self, file: Path) -> LocalProgram | SpecError:
        if file in self._read:
            before, found = self._read[file]
            if before == _stamp(file, found):
                return found
        try:
            now: LocalProgram | SpecError = read_program(file)
        except SpecError as error:
            now = error
        self._read[file] = _stamp(file, now), now
        return now

    def _difference(self, file: Path, program: Program, created: datetime) -> str:
        here = self._current(file)
        if isinstance(here, SpecError):
            return str(here)
        changes = changed_files(program, here.program)
        more = f" and {len(changes) - _MOST_NAMED} more" if len(changes) > _MOST_NAMED else ""
        newest = max((_written(here.folder / each.path, created.tzinfo) for each in here.program.files), default="")
        return (
            f"the program of {file} is another one than the study's, which was created at {created:%Y-%m-%d %H:%M}: "
            f"{', '.join(changes[:_MOST_NAMED])}{more} (last written at {newest}). Put the old files back, or create "
            "the study under another name"
        )


def _are_alike(one: Program, here: LocalProgram) -> bool:
    """Return whether two programs may be versions of one: they have a file of the same path."""
    return not {file.path for file in one.files}.isdisjoint(file.path for file in here.program.files)


def _written(path: Path, zone: tzinfo | None) -> str:
    try:
        return f"{datetime.fromtimestamp(path.stat().st_mtime, zone):%Y-%m-%d %H:%M}"
    except OSError:
        return ""


def _stamp(file: Path, found: LocalProgram | SpecError) -> _Stamp:
    """Return what changes with the files; a new one that a pattern matches is found by the child."""
    files = [found.folder / each.path for each in found.program.files] if isinstance(found, LocalProgram) else []
    return tuple(_stat(path) for path in (file, *files))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        its = path.stat()
    except OSError:
        return None
    return its.st_ino, its.st_size, its.st_mtime_ns
