"""The user's own code as what a study trains with: files beside the study's file, or an installed package.

What stands here is stored with the study and tells which code it is about. Nothing of it executes: a worker loads files
that its own command line names, and only where their digests are the study's (`cifarsweep.own_code`).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from cifarsweep.errors import DataError, SpecError
from cifarsweep.spec.frozen import Frozen
from cifarsweep.spec.own import CODE
from cifarsweep.spec.program import ProgramFile
from cifarsweep.spec.settings import Settings, flat_settings

#: `nets:Wide`: the class or function `Wide` of the file `nets.py`, or of that name in an installed package.
REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}:[A-Za-z_][A-Za-z0-9_]{0,99}")
#: Words before the colon that name no code of the user.
NO_CODE = ("timm", "torch.optim")
#: Files of more code than this are data or a mistake.
_MOST_FILES, _MOST_BYTES = 1000, 10_000_000


class Code(Frozen):
    """The files that a study's own parts are in."""

    files: Annotated[tuple[ProgramFile, ...], Field(min_length=1, max_length=_MOST_FILES)]

    @property
    def sha256(self) -> str:
        """The digest of all paths and contents."""
        return digest_of_files([(file.path, file.sha256) for file in self.files])


def digest_of_files(files: Sequence[tuple[str, str]]) -> str:
    """Return the digest of files by their paths and the digests of their contents, in any order."""
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def module_name(path: str) -> str:
    """Return what `import` calls a file by its path from the folder of the code: `mynet.wide` for `mynet/wide.py`."""
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def codes_of(settings: Settings) -> set[str]:
    """Return the digests of all own code that trials with these settings run."""
    found = (value for key, value in flat_settings(settings).items() if key.rpartition(".")[2] == CODE and value)
    return {code for value in found for code in str(value).split("; ")}


def names_code(reference: object) -> bool:
    """Return whether the name of a part refers to code of the user, rather than to one of ours, timm's or torch's."""
    return (
        isinstance(reference, str)
        and REFERENCE.fullmatch(reference) is not None
        and reference.partition(":")[0] not in NO_CODE
    )


def read_code(patterns: Sequence[str], folder: Path, where: str) -> Code:
    """Return the files that `[code]` of a study file names, relative to its folder.

    Raises SpecError for a pattern that matches nothing, and for a file that is outside the folder or can't be imported.
    """
    found = list(dict.fromkeys(path for pattern in patterns for path in matches(pattern, folder, where)))
    if not 0 < len(found) <= _MOST_FILES:
        raise SpecError(f"{where}: names {len(found):,} files; name 1 to {_MOST_FILES:,} files of Python")
    for path in found:
        _check_name(path, where)
    digests = {path: hashlib.sha256(read_file(folder, path)).hexdigest() for path in found}
    return Code(files=tuple(ProgramFile(path=path, sha256=digest) for path, digest in sorted(digests.items())))


def matches(pattern: str, folder: Path, where: str) -> list[str]:
    """Return the files of a folder that match a pattern, by their paths in it. Raises SpecError if none does."""
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise SpecError(f"{where}: {pattern!r}: must be a path inside of the folder of the study's file")
    found = [path for path in sorted(folder.glob(pattern)) if "__pycache__" not in path.parts]
    if not found:
        raise SpecError(f"{where}: {pattern!r}: there is no such file in {folder.resolve()}")
    return [path.relative_to(folder).as_posix() for path in found if not path.is_dir()]


def _check_name(path: str, where: str) -> None:
    parts = PurePosixPath(path).with_suffix("").parts
    if not path.endswith(".py") or not all(part.isidentifier() for part in parts):
        raise SpecError(
            f"{where}: {path}: can't be imported; name files of Python, of letters, digits and underscores, with .py"
        )
    if parts[0] in sys.stdlib_module_names or parts[0] in ("cifarsweep", "torch", "torchvision", "timm", "numpy"):
        raise SpecError(f"{where}: {path}: a library is called {parts[0]!r} too; give the file another name")


def read_file(folder: Path, path: str) -> bytes:
    """Return the contents of a file of code, read once. Raises DataError if it is not there, or lies elsewhere."""
    whole = folder / path
    try:
        resolved = whole.resolve(strict=True)
        if not resolved.is_relative_to(folder.resolve(strict=True)):
            raise DataError(f"{whole}: leads out of the folder of the code, to {resolved}")
        if not resolved.is_file():
            raise DataError(f"{whole}: is no file")
        if resolved.stat().st_size > _MOST_BYTES:
            raise DataError(f"{whole}: has more than {_MOST_BYTES:,} bytes")
        return resolved.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{whole}: can't be read: {getattr(error, 'strerror', None) or error}") from None
