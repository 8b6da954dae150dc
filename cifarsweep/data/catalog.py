"""The data sets that are built in or installed. Imports neither torch nor numpy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from cifarsweep.data import tensor_file
from cifarsweep.data.tensor_file import Stamp, stamp_of
from cifarsweep.errors import DataError
from cifarsweep.files import HomeError, exists, user_data_folder
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.types import NAME_PATTERN
from cifarsweep.spec.validation import nearest
from cifarsweep.text import quoted

ROOT_VARIABLE = "CIFARSWEEP_DATA"
EMBEDDED = "digits"


#: The end of a data set's source, where an import had options.
_OPTIONS = re.compile(r"( --size \d+)?( --grey)?( --fit (crop|pad))?( --test [-+.\de]+ --seed \d+)?( --skip-others)?\Z")


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A data set that cifarsweep knows by name. `train` and `test` count images.

    `command` installs it; None if its first use does.
    """

    command: str | None
    train: int
    test: int
    classes: int


BUILT_IN: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "cifar10": BuiltIn("cifarsweep data download cifar10", 50_000, 10_000, 10),
        "cifar100": BuiltIn("cifarsweep data download cifar100", 50_000, 10_000, 100),
        EMBEDDED: BuiltIn(None, 1442, 355, 10),
    }
)


@dataclass(frozen=True, slots=True)
class DataSetInfo:
    """A data set that is installed: `train` and `test` count images, `sha256` is the digest of its contents.

    `stamp` is set if every byte of the file was read and agrees with the digest.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: int
    test: int
    sha256: str
    bytes: int
    path: Path
    stamp: Stamp | None = None
    shape: ImageShape = CIFAR

    @property
    def import_options(self) -> str:
        """The options of `data import` that made it, with a space before each; empty for none."""
        return _OPTIONS.search(self.source)[0]  # type: ignore[index]  # it matches an empty end


def data_root() -> Path:
    """`$CIFARSWEEP_DATA`, else the user's data folder. It need not exist. Raises DataError for an unknown `~user`."""
    named = os.environ.get(ROOT_VARIABLE)
    if not named:
        try:
            return user_data_folder()
        except HomeError as error:
            raise DataError(f"{error}; let {ROOT_VARIABLE} name the folder of the data sets") from None
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise DataError(f"{ROOT_VARIABLE} is {quoted(named)}, and there is no such home folder here") from None


def path_of(name: str, root: Path | None = None) -> Path:
    """Return the path of a data set, installed or not. Raises DataError for an invalid name."""
    if not NAME_PATTERN.fullmatch(name):
        raise DataError(
            f"{quoted(name)} can't name a data set: use up to 64 letters, digits, dots, underscores and hyphens, "
            "and begin with a letter or a digit"
        )
    return (root or data_root()) / f"{name}{tensor_file.SUFFIX}"


def known(name: str, root: Path | None = None) -> bool:
    """Whether the name is built in or installed here. Raises DataError without permission to tell."""
    return name in BUILT_IN or (NAME_PATTERN.fullmatch(name) is not None and _is_there(path_of(name, root)))


def info(name: str, root: Path | None = None) -> DataSetInfo | None:
    """Return the data set of that name, None if it is not installed. Raises DataError if it can't be read."""
    path = path_of(name, root)
    if not _is_there(path):
        return None
    header = tensor_file.read_header(path)
    return DataSetInfo(
        name=name,
        source=header.source,
        classes=header.classes,
        train=header.train,
        test=header.test,
        sha256=header.sha256,
        bytes=header.stop,
        path=path,
        shape=header.shape,
    )


def _is_there(path: Path) -> bool:
    try:
        return exists(path)
    except OSError as error:
        raise DataError(f"can't look at {path}: {error.strerror}; let {ROOT_VARIABLE} name another folder") from None


def class_count(name: str) -> int | None:
    """Return the number of classes; None if the data set is neither built in nor installed here, or damaged."""
    return BUILT_IN[name].classes if name in BUILT_IN else len(class_names(name)) or None


def sizes(name: str) -> tuple[int, int] | None:
    """Return how many training and test images there are; None where `class_count` returns None."""
    if name in BUILT_IN:
        return BUILT_IN[name].train, BUILT_IN[name].test
    found = readable(name)
    return (found.train, found.test) if found else None


def class_names(name: str) -> tuple[str, ...]:
    """Return the names of the classes by their numbers; none if the data set is not installed here, or damaged."""
    found = readable(name)
    return found.classes if found else ()


def readable(name: str) -> DataSetInfo | None:
    """Return the data set of that name; None if it is not installed here, or damaged."""
    try:
        return info(name)
    except DataError:
        return None


def installed(root: Path | None = None, on_damaged: Callable[[DataError], None] | None = None) -> list[DataSetInfo]:
    """Return every installed data set, by name. A damaged one goes to `on_damaged`, else its DataError is raised."""
    found: list[DataSetInfo] = []
    for name in _names(root):
        try:
            item = info(name, root)
        except DataError as error:
            if on_damaged is None:
                raise
            on_damaged(error)
        else:
            found += [item] if item else []
    return found


def require(name: str, root: Path | None = None) -> DataSetInfo:
    """Return the data set of that name; `digits` is made on its first use.

    Raises DataError that says how to install an absent data set.
    """
    if (found := info(name, root)) is not None:
        return found
    if name != EMBEDDED:
        raise DataError(_how_to_get(name, root))
    # scikit-learn takes a second to import, and a data folder needs it once.
    from cifarsweep.data import digits

    # Several processes may do this at once: each writes the same bytes to a file of its own and renames it.
    tensor_file.write(path_of(name, root), digits.contents())
    return require(name, root)


def verify(name: str, root: Path | None = None) -> DataSetInfo:
    """Read every byte of a data set. Raises DataError if the digest differs from the one in its header."""
    found = require(name, root)
    actual = tensor_file.digest_of_file(found.path)
    if actual != found.sha256:
        raise DataError(
            f"data set {name!r} is damaged: {found.path} holds {actual[:12]}... where it was written with "
            f"{found.sha256[:12]}...; delete the file; {_way_to_get(name)}"
        )
    return found


def _names(root: Path | None) -> list[str]:
    """Return the names of the data sets in the root, sorted."""
    root = root or data_root()
    try:
        files = sorted(entry.name for entry in os.scandir(root))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(
            f"can't list the data folder {root}: {error.strerror}; let {ROOT_VARIABLE} name another"
        ) from error
    names = [file.removesuffix(tensor_file.SUFFIX) for file in files if file.endswith(tensor_file.SUFFIX)]
    return [name for name in names if NAME_PATTERN.fullmatch(name)]


def _how_to_get(name: str, root: Path | None) -> str:
    if name in BUILT_IN:
        return f"data set {name!r} is not in {root or data_root()}; {_way_to_get(name)}"
    names = sorted({*BUILT_IN, *_names(root)})
    return f"no data set {name!r} here.{nearest(name, names)} There are {', '.join(names)}; {_way_to_get(name)}"


def _way_to_get(name: str) -> str:
    if name not in BUILT_IN:
        return f"for images of your own: cifarsweep data import {name} FOLDER_OR_ARCHIVE"
    command = BUILT_IN[name].command
    return f"get it with: {command}" if command else "its next use makes it again"


_TRIES = 3


class VerifiedData:
    """Verifies the file of a data set once, and again only after it was touched."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        #: by name: the stamp of the file, and the data set or the message of its error
        self._known: dict[str, tuple[Stamp, DataSetInfo | str]] = {}

    def __call__(self, name: str) -> DataSetInfo:
        """Return the data set as it is now, with its `stamp`. Raises DataError if it is absent or damaged."""
        for _ in range(_TRIES):
            found = self._read(name)
            if isinstance(found, str):
                raise DataError(found)
            if found is not None:
                return found
        path = path_of(name, self._root)
        raise DataError(f"data set {name!r}: another process is writing {path}; start again once that is done")

    def _read(self, name: str) -> DataSetInfo | str | None:
        """Return the data set or the message of its error; None if its file changed while it was read."""
        path = path_of(name, self._root)
        stamp = stamp_of(path)
        if stamp is not None and name in self._known and self._known[name][0] == stamp:
            return self._known[name][1]
        try:
            found: DataSetInfo | str = replace(verify(name, self._root), stamp=stamp)
        except DataError as error:
            found = str(error)
        if stamp_of(path) != stamp:
            return None
        if stamp is not None:
            self._known[name] = stamp, found
        return found
