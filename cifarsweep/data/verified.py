"""Data sets whose every byte was read and found to be what their file was written with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cifarsweep.data import catalog
from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.data.tensor_file import Stamp, stamp_of
from cifarsweep.errors import DataError

_TRIES = 3


class VerifiedData:
    """Reads the file of a data set once, and again only after somebody has touched it."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        #: by name: the file as it was, and the data set or what is wrong with it
        self._known: dict[str, tuple[Stamp, DataSetInfo | str]] = {}

    def __call__(self, name: str) -> DataSetInfo:
        """The data set as it is now, with its `stamp`. Raises DataError where it is absent or damaged."""
        for _ in range(_TRIES):
            found = self._look(name)
            if isinstance(found, str):
                raise DataError(found)
            if found is not None:
                return found
        path = catalog.path_of(name, self._root)
        raise DataError(f"data set {name!r}: somebody is writing {path}; start again once that is done")

    def _look(self, name: str) -> DataSetInfo | str | None:
        """The data set, or what is wrong with it; None where its file changed while it was read."""
        path = catalog.path_of(name, self._root)
        stamp = stamp_of(path)
        if stamp is not None and name in self._known and self._known[name][0] == stamp:
            return self._known[name][1]
        try:
            found: DataSetInfo | str = replace(catalog.verify(name, self._root), stamp=stamp)
        except DataError as error:
            found = str(error)
        if stamp_of(path) != stamp:
            return None
        if stamp is not None:
            self._known[name] = stamp, found
        return found
