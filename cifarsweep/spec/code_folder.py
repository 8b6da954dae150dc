"""What a command line names as code: a folder, or a study file in one. Only files under `[code]` may be run from there.

Without that, whoever can write the database could let a worker import any file of Python that lies in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cifarsweep.errors import CifarsweepError, DataError
from cifarsweep.spec.code import matches, read_file

#: More study files than this in one folder are not read.
_MOST_STUDIES = 1000


def is_place(source: str) -> bool:
    """Return whether a word of the command line is a folder or a study file."""
    path = Path(source)
    return path.is_dir() or (path.suffix == ".toml" and path.is_file())


@dataclass(frozen=True, slots=True)
class CodeFolder:
    """A folder, and the files of it that study files there name under `[code]`."""

    folder: Path
    named: frozenset[str]

    @classmethod
    def of(cls, source: str) -> Self:
        """Read the study files of a folder, or the one that is given; one that can't be read names nothing."""
        path = Path(source)
        if not path.is_dir():
            return cls(path.parent, _named(path))
        studies = sorted(path.glob("*.toml"))[:_MOST_STUDIES]
        return cls(path, frozenset[str]().union(*map(_named, studies)))

    def read(self, path: str) -> bytes:
        """Return the contents of a file, read once. Raises DataError if it is not there, or no study file names it."""
        if path not in self.named:
            raise DataError(f"{self.folder}: no study file there names {path} under [code]")
        return read_file(self.folder, path)


def _named(study: Path) -> frozenset[str]:
    # With it come all records of a study, which the child of a worker would wait for and never read.
    from cifarsweep.spec.toml_file import parse_file

    try:
        table = parse_file(study).get("code")
        patterns = table.get("files") if isinstance(table, dict) else None
        texts = [each for each in patterns if isinstance(each, str)] if isinstance(patterns, list) else []
        return frozenset(path for text in texts for path in matches(text, study.parent, str(study)))
    except (CifarsweepError, OSError):
        return frozenset()
