"""Makes a data set of a folder or an archive of images, laid out `<split>/<class>/<file>`. Imports no torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cifarsweep.data import catalog, tensorfile
from cifarsweep.data.archives import archive_members
from cifarsweep.data.folders import folder_members
from cifarsweep.data.members import DEFAULT_LIMITS, Limits, Member, within
from cifarsweep.data.pictures import decode
from cifarsweep.data.tensorfile import CHANNELS, LONGEST_CLASS_NAME, MOST_CLASSES, SIDE, Contents
from cifarsweep.data.text import is_plain, shown
from cifarsweep.errors import DataError

SPLITS = ("train", "test")
#: A file among its images: split, class, file name. Sorting by it makes the digest reproducible.
Key = tuple[str, str, str]


def import_images(
    name: str,
    source: Path,
    root: Path | None = None,
    replace: bool = False,
    *,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int], None] | None = None,
) -> catalog.DataSetInfo:
    """Import the images of `source` as data set `name`; `progress` hears how many are decoded.

    The same images under the same name again change nothing; others need `replace`. Raises DataError, and then
    nothing was written.
    """
    path = catalog.path_of(name, root)
    if name.casefold() in catalog.BUILT_IN:
        raise DataError(f"{name!r} is a built-in data set; choose another name")
    before = None if replace else catalog.info(name, root)
    contents = _contents(_resolved(source), limits, progress)
    if before is None:
        tensorfile.write(path, contents)
    elif before.sha256 != tensorfile.digest_of(contents):
        raise DataError(f"data set {name!r} holds other images; choose another name, or add --replace")
    return catalog.require(name, root)


def _resolved(source: Path) -> Path:
    """The source with a name of its own, even as `.`."""
    try:
        if source.exists():
            return source.resolve()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        raise DataError(f"{shown(str(source))} can't be read: {why}") from None
    raise DataError(f"there is no folder and no archive {shown(str(source))}; give the path of one")


@dataclass(slots=True)
class _Found:
    """What was found so far."""

    pixels: dict[Key, bytes] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)
    top: tuple[str, ...] | None = None


def _contents(source: Path, limits: Limits, progress: Callable[[int], None] | None) -> Contents:
    found = _Found()
    with warnings.catch_warnings():
        # Pillow warns of oddities it can live with; those it can't are errors.
        warnings.simplefilter("ignore")
        for member in within(_members(source, limits), source.name, limits):
            if _place(member, found, limits) and progress:
                progress(len(found.pixels))
    classes = _checked_classes(found, source)
    keys = sorted(found.pixels)
    arrays = {split: _arrays([key for key in keys if key[0] == split], found, classes) for split in SPLITS}
    return Contents(classes, _described(source), *arrays["train"], *arrays["test"])


def _members(source: Path, limits: Limits) -> Iterator[Member]:
    if source.is_dir():
        return folder_members(source, limits)
    if source.is_file():
        return archive_members(source, limits)
    raise DataError(f"{shown(str(source))} is neither a folder nor a file; give the path of one")


def _place(member: Member, found: _Found, limits: Limits) -> bool:
    """Take the member's image or folder in; tell whether it was an image."""
    depth = _split_depth(member)
    if depth is None:
        return False
    if found.top is None:
        found.top = member.parts[:depth]
    if member.parts[:depth] != found.top:
        raise DataError(f"{member.where} lies in another top folder than the members before it; keep one, or none")
    split, *rest = member.parts[depth:]
    if rest:
        found.classes.add(_class_name(rest[0], member.where))
    if member.data is None:
        return False
    key = (split, rest[0], rest[1])
    if key in found.pixels:
        raise DataError(f"{member.where} is there twice; keep one of them")
    found.pixels[key] = decode(member.data, member.where, limits.pixels)
    return True


def _split_depth(member: Member) -> int | None:
    """How many folders stand before the split, 0 or 1; None for a folder above it. Raises DataError for a misfit."""
    parts, is_file = member.parts, member.data is not None
    for depth in (0, 1):
        below = len(parts) - depth
        if below >= 1 and parts[depth] in SPLITS and (below == 3 if is_file else below <= 2):
            return depth
    if not is_file and len(parts) <= 1:
        return None
    raise DataError(f"{member.where} does not fit <split>/<class>/<file> with train and test as splits; move it")


def _class_name(name: str, where: str) -> str:
    if len(name) > LONGEST_CLASS_NAME:
        raise DataError(f"{where}: a class name may have at most {LONGEST_CLASS_NAME} characters; shorten it")
    return name


def _checked_classes(found: _Found, source: Path) -> tuple[str, ...]:
    """The classes in order. Raises DataError unless each has images in both splits."""
    classes = tuple(sorted(found.classes))
    if not found.pixels or len(classes) > MOST_CLASSES:
        what = f"more than {MOST_CLASSES} classes" if found.pixels else "no images"
        raise DataError(f"{shown(source.name)} has {what}; lay it out as <split>/<class>/<file>, split train or test")
    present = {key[:2] for key in found.pixels}
    for name in classes:
        for split in SPLITS:
            if (split, name) not in present:
                raise DataError(
                    f"{shown(source.name)}: class {shown(name)} has no image in {split}; add some or drop it"
                )
    return classes


def _arrays(keys: list[Key], found: _Found, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 32, 32, 3) and labels int64 (N,), in the order of the keys."""
    index = {name: label for label, name in enumerate(classes)}
    pixels = np.frombuffer(b"".join(found.pixels[key] for key in keys), dtype=np.uint8)
    labels = np.array([index[key[1]] for key in keys], dtype=np.int64)
    return pixels.reshape(-1, SIDE, SIDE, CHANNELS), labels


def _described(source: Path) -> str:
    return f"imported from {source.name}" if is_plain(source.name) else "imported"
