"""Loads the user's own code: only from what the command line of this process names, and only verified bytes.

A study tells which code it was created with: the digest of its files, or name, version and digest of a package. A file
is read once; what was read is compared with its digest, and that is what runs, whatever happens to the file meanwhile.
Cached bytecode is neither read nor written. One process holds the files of one study at a time.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from cifarsweep.errors import CodeUnusable, DataError, SpecError
from cifarsweep.spec.code import digest_of_files, module_name
from cifarsweep.spec.code_folder import CodeFolder, is_place
from cifarsweep.spec.packages import entry_point, is_installed, package_code
from cifarsweep.spec.validation import nearest

#: Path and digest of each file of a study's code.
Files = Sequence[tuple[str, str]]


class OwnCodeError(SpecError):
    """The user's own code raises, or is not what it must be."""


@dataclass(frozen=True, slots=True)
class _Source:
    path: str
    content: bytes
    is_package: bool


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules of verified files, and nothing else."""

    def __init__(self, sources: Mapping[str, _Source]) -> None:
        self.sources = sources

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        if fullname not in self.sources:
            return None
        source = self.sources[fullname]
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=source.path, is_package=source.is_package)
        spec.has_location = bool(source.content)
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].is_package

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.sources[fullname].content)

    def get_code(self, fullname: str) -> CodeType:
        source = self.sources[fullname]
        return self.source_to_code(source.content, source.path)


class _Held:
    """What this process may load, and what it has loaded."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.files: dict[str, Files] = {}
        self.sha256 = ""
        self.finder = _Finder({})


_held = _Held()


def allow(sources: Sequence[str]) -> None:
    """Allow what the command line names: folders, and names of installed packages."""
    _held.allowed = tuple(sources)


def know(files: Files) -> None:
    """Remember the files of a study's code. Their digest stands for them, so whoever names them need not be trusted."""
    if files:
        _held.files[digest_of_files(files)] = tuple(files)


def forget() -> None:
    """Load nothing more, and let go of what was loaded."""
    _drop()
    _held.allowed = ()
    _held.files.clear()


def load(table: str, reference: str, code: str) -> Any:
    """Return the class or function that a table of settings names, of code with that digest.

    Raises CodeUnusable where the code here is another, or was not named on the command line, OwnCodeError where it
    raises while it is imported or has no such part.
    """
    if " " in code:
        return _from_package(table, reference, code)
    name, _, attribute = reference.partition(":")
    if _held.sha256 != code:
        _hold(code)
    source = _held.finder.sources.get(name)
    if source is None or not source.content:
        raise OwnCodeError(f"{table}.name: no file of [code] is called {name}.py")
    module = _imported(name, source.path)
    part = getattr(module, attribute, None)
    if part is None:
        public = [each for each in vars(module) if not each.startswith("_")]
        raise OwnCodeError(f"{table}.name: {source.path} has no {attribute!r}.{nearest(attribute, public)}")
    if getattr(part, "__module__", None) not in _held.finder.sources:
        # What a file of the user imports from elsewhere is not meant to be started by a study.
        raise OwnCodeError(f"{table}.name: {attribute!r} is imported by {source.path}, and must be defined in [code]")
    return part


def _from_package(table: str, reference: str, code: str) -> Any:
    package = reference.partition(":")[0]
    if package not in _held.allowed:
        raise CodeUnusable(f"the package {package} was not named on the command line: add --code {package}")
    if (here := package_code(package)) != code:
        raise CodeUnusable(f"the package {package} is another one than the study was created with: {here} here, {code}")
    try:
        return entry_point(table, reference).load()
    except DataError as error:
        raise OwnCodeError(f"{table}.name: {error}") from None
    except Exception as error:
        raise OwnCodeError(f"{table}.name: {reference} can't be imported: {type(error).__name__}: {error}") from error


def _hold(code: str) -> None:
    """Read and verify the files of that digest, in the place of those that are held."""
    files = _held.files.get(code)
    if files is None:
        raise CodeUnusable("the study does not tell the files of its code")
    contents = _verified(files)
    _drop()
    sources = _sources(contents)
    for name in sources:
        if name in sys.modules:
            raise OwnCodeError(f"a library has imported another module {name!r}; give the file another name")
    _held.finder, _held.sha256 = _Finder(sources), code
    sys.meta_path.insert(0, _held.finder)


def _drop() -> None:
    """Let go of the modules that are held."""
    for name in _held.finder.sources:
        sys.modules.pop(name, None)
    if _held.finder in sys.meta_path:
        sys.meta_path.remove(_held.finder)
    _held.finder, _held.sha256 = _Finder({}), ""


def _sources(contents: Mapping[str, tuple[str, bytes]]) -> dict[str, _Source]:
    """Return what each module is made of, with empty packages where a folder has no `__init__.py`."""
    sources = {
        module_name(path): _Source(where, content, is_package=Path(path).name == "__init__.py")
        for path, (where, content) in contents.items()
    }
    for name in list(sources):
        parts = name.split(".")
        for depth in range(1, len(parts)):
            sources.setdefault(".".join(parts[:depth]), _Source(parts[0], b"", is_package=True))
    return sources


def _verified(files: Files) -> dict[str, tuple[str, bytes]]:
    """Return where each file is and what it holds, from the first allowed folder that has them all."""
    folders = [CodeFolder.of(source) for source in _held.allowed if is_place(source)]
    if not folders:
        raise CodeUnusable("the study trains code of its own: start the worker with --code FOLDER")
    reasons = []
    for each in folders:
        try:
            return {path: (str(each.folder / path), _content(each, path, sha256)) for path, sha256 in files}
        except DataError as error:
            reasons.append(str(error))
    raise CodeUnusable("; ".join(reasons))


def _content(place: CodeFolder, path: str, sha256: str) -> bytes:
    content = place.read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{place.folder / path}: is not the file that the study was created with")
    return content


def _imported(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise OwnCodeError(f"{path} can't be imported: {user_line(error)}") from error


def user_line(error: BaseException) -> str:
    """Return the error in a line, with the last line of the user's own code that led to it."""
    paths = {source.path for source in _held.finder.sources.values() if source.content}
    if isinstance(error, SyntaxError) and error.filename in paths:
        return f"{Path(error.filename or '').name}, line {error.lineno}: SyntaxError: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name and not is_installed(error.name):
        hint = "; if it is a file of yours, add it to [code]"
    text = str(error).strip().splitlines() or [""]
    return f"{where}{type(error).__name__}: {text[0][:300]}{hint}"
