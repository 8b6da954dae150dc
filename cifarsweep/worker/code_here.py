"""The users' code that a worker may train with: what its own command line names. It runs none of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from cifarsweep.errors import CodeUnusable, DataError, SpecError
from cifarsweep.own_code import Files
from cifarsweep.spec.code import Code, codes_of
from cifarsweep.spec.code_folder import CodeFolder, is_place
from cifarsweep.spec.packages import is_installed, package_code
from cifarsweep.spec.study import Study
from cifarsweep.store.records import StoredStudy


def parse_sources(given: Iterable[str]) -> tuple[str, ...]:
    """Return folders and study files as whole paths, and names of packages. Raises SpecError for anything else."""
    return tuple(dict.fromkeys(_source(text) for text in given))


def _source(text: str) -> str:
    try:
        if is_place(text):
            return str(Path(text).resolve())
    except (OSError, ValueError):
        pass
    if is_installed(text):
        return text
    raise SpecError(f"--code {text[:200]!r}: is neither a folder, nor a study file, nor an installed package")


def files_of(study: Study) -> Files:
    """Return path and digest of each file of the study's code."""
    return [(file.path, file.sha256) for file in study.code.files] if study.code else []


class CodeHere:
    """What the command line names: whole paths of folders and study files, and names of packages."""

    def __init__(self, sources: Sequence[str] = ()) -> None:
        self._places = [source for source in sources if is_place(source)]
        self._packages = {source for source in sources if not is_place(source)}

    def check(self, stored: StoredStudy) -> None:
        """Raise CodeUnusable that says which code of the study is not here, or is another."""
        study = stored.spec
        codes = {code for cell in study.cells if cell.own_settings for code in codes_of(cell.own_settings)}
        for code in sorted(codes):
            if " " in code:
                self._check_package(study.name, code)
            elif study.code is None or study.code.sha256 != code:
                raise CodeUnusable(f"study {study.name!r}: its settings name other files of code than it has")
            else:
                self._check_files(study.name, study.code, stored.created_at)

    def _check_package(self, study: str, code: str) -> None:
        name = code.partition(" ")[0]
        if name not in self._packages:
            raise CodeUnusable(
                f"study {study!r}: it trains code of the package {name}, which a worker must name: --code {name}"
            )
        try:
            here = package_code(name)
        except DataError as error:
            raise CodeUnusable(f"study {study!r}: {error}") from None
        if here != code:
            raise CodeUnusable(
                f"study {study!r}: it trains code of the package {_shown(code)}, and here is {_shown(here)}"
            )

    def _check_files(self, study: str, code: Code, created: datetime) -> None:
        if not self._places:
            names = ", ".join(file.path for file in code.files[:3])
            raise CodeUnusable(
                f"study {study!r}: it trains code of its own ({names}), whose folder a worker must name: --code FOLDER"
            )
        problems = [_difference(folder, code, created) for folder in map(CodeFolder.of, self._places)]
        if all(problems):
            raise CodeUnusable(f"study {study!r}: {'; '.join(filter(None, problems))}")


def _difference(place: CodeFolder, code: Code, created: datetime) -> str | None:
    """Say which file of a folder is not what the study was created with; None if all are."""
    for file in code.files:
        try:
            here = hashlib.sha256(place.read(file.path)).hexdigest()
            changed = datetime.fromtimestamp((place.folder / file.path).stat().st_mtime, created.tzinfo)
        except (DataError, OSError) as error:
            return str(error)
        if here != file.sha256:
            return (
                f"{place.folder / file.path} is not the file that the study was created with at "
                f"{created:%Y-%m-%d %H:%M}: it was written at {changed:%Y-%m-%d %H:%M}. Put the old one back, or "
                "create the study under another name"
            )
    return None


def _shown(code: str) -> str:
    name, version, sha256 = code.split(" ")
    return f"{name} {version} (sha256 {sha256[:12]}...)"
