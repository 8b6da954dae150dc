"""Imports a folder or an archive of images, laid out `<split>/<class>/<file>`, as a data set. Imports no torch."""

from __future__ import annotations

import warnings
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.archives import (
    DEFAULT_LIMITS,
    Limits,
    Member,
    Wanted,
    archive_members,
    folder_members,
    is_desktop_file,
    member_name,
)
from cifarsweep.data.image_decoding import decode_image
from cifarsweep.data.tensor_file import LONGEST_CLASS_NAME, MOST_CLASSES, Contents
from cifarsweep.errors import DataError
from cifarsweep.files import exists
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.text import is_plain, quoted

SPLITS = ("train", "test")
#: Split, class and file name of an image. Sorting by it makes the digest reproducible.
Key = tuple[str, str, str]
_MISFIT = "does not fit <split>/<class>/<file> with train and test as splits; move it"
#: If no image of 16 bits has a value as high as this, 14 bits or fewer were saved without scaling.
_DARK = 2**14


def import_images(
    name: str,
    source: Path,
    root: Path | None = None,
    replace: bool = False,
    *,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> catalog.DataSetInfo:
    """Import the images of `source` as data set `name`.

    `progress` gets the number of decoded images, `note` a sentence on those left out. The same images under the same
    name change nothing, except a damaged file; others need `replace`. Raises DataError without writing anything.
    """
    path = catalog.path_of(name, root)
    if name.casefold() in catalog.BUILT_IN:
        raise DataError(f"{name!r} is a built-in data set; choose another name")
    before = None if replace else catalog.info(name, root)
    contents, hidden = _contents(_resolved(source), limits, progress)
    if before is not None and before.sha256 != tensor_file.digest_of(contents):
        raise DataError(f"data set {name!r} holds other images; choose another name, or add --replace")
    if before is None or before.sha256 != tensor_file.digest_of_file(path):
        tensor_file.write(path, contents)
    if hidden and note:
        note(f"{hidden:,} hidden or system files and folders were left out")
    return catalog.require(name, root)


def _resolved(source: Path) -> Path:
    """Return the source as an absolute path, which has a name even for `.`."""
    try:
        if exists(source):
            return source.resolve()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        raise DataError(f"{quoted(str(source))} can't be read: {why}") from None
    raise DataError(f"there is no folder and no archive {quoted(str(source))}; give the path of one")


#: Members that are named for each reason, and reasons that are listed.
_NAMED = 3


@dataclass(slots=True)
class Problems:
    """The number of refused members for each reason, and the first of them by name."""

    _counts: Counter[str] = field(default_factory=Counter)
    _names: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, name: str, reason: str, count: int = 1) -> None:
        """Count the member `name`, or `count` members of which it is one, as refused for `reason`."""
        self._counts[reason] += count
        names = self._names.setdefault(reason, [])
        insort(names, name)
        del names[_NAMED:]

    def sentence(self, source: str) -> str:
        """Return one line: the most frequent reasons, each with its first member and the number of others."""
        reasons = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        told = [
            f"{member_name(source, self._names[reason][0])} {reason}{more(self._names[reason], self._counts[reason])}"
            for reason in reasons[:_NAMED]
        ]
        if left := sum(self._counts[reason] for reason in reasons[_NAMED:]):
            told.append(f"{left} more have other faults")
        return ". ".join(told)


def more(names: list[str], count: int) -> str:
    """Return the text on the other names, if the first of `count` was named."""
    if count == 1:
        return ""
    rest = [quoted(name) for name in names[1:_NAMED]]
    listed = ", ".join(rest + ["..."] * (count > 1 + len(rest)))
    return f" (and {count - 1:,} more: {listed})" if rest else f" (and {count - 1:,} more)"


@dataclass(slots=True)
class _Source:
    """The members so far. Their order does not matter."""

    limits: Limits
    pixels: dict[Key, bytes] = field(default_factory=dict)
    files: set[tuple[str, ...]] = field(default_factory=set)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    tops: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """The folders above the splits, of which one is allowed, with the number of files below each."""
    examples: dict[tuple[str, ...], str] = field(default_factory=dict)
    """The first file below each of them."""
    misfits: Problems = field(default_factory=Problems)
    """Members in wrong folders."""
    damaged: Problems = field(default_factory=Problems)
    hidden: int = 0
    deep: int = 0
    """Images with 16 bits a channel."""
    brightest: int = 0
    """The highest value in them."""

    def wanted(self, parts: tuple[str, ...]) -> bool:
        """Whether a file will be decoded, so that its bytes are needed."""
        depth = _split_depth(parts)
        return depth is not None and parts not in self.files and len(parts[depth + 1]) <= LONGEST_CLASS_NAME

    def take(self, member: Member) -> None:
        if is_desktop_file(member.parts):
            self.hidden += 1
        elif member.data is None:
            self.folders.add(member.parts)
        else:
            wanted = self.wanted(member.parts) and not member.fault
            self._place(member)
            if wanted:
                self._decode(member, member.data)

    def _place(self, member: Member) -> None:
        parts, name, depth = member.parts, "/".join(member.parts), _split_depth(member.parts)
        if member.fault or depth is None:
            self.misfits.add(name, member.fault or _MISFIT)
        elif parts in self.files:
            self.misfits.add(name, "is there twice; keep one of them")
        elif len(parts[depth + 1]) > LONGEST_CLASS_NAME:
            self.misfits.add(name, f"has too long a class name: at most {LONGEST_CLASS_NAME} characters; shorten it")
        else:
            self.tops[parts[:depth]] += 1
            self.examples[parts[:depth]] = min(name, self.examples.get(parts[:depth], name))
        self.files.add(parts)

    def _decode(self, member: Member, data: bytes) -> None:
        try:
            picture = decode_image(data, member.where, self.limits.pixels)
        except DataError as error:
            self.damaged.add("/".join(member.parts), str(error).removeprefix(member.where).strip())
            return
        split, kind, file = member.parts[-3:]
        self.pixels[split, kind, file] = picture.pixels
        if picture.brightest is not None:
            self.deep += 1
            self.brightest = max(self.brightest, picture.brightest)

    def check(self, source: str) -> None:
        """Raise DataError that counts all problems: of folders first, then of images."""
        most = max(self.tops, key=lambda top: (self.tops[top], top), default=())
        for top in self.tops.keys() - {most}:
            self.misfits.add(self.examples[top], "lies in another top folder; keep one, or none", self.tops[top])
        holding = {file[:end] for file in self.files for end in range(len(file))}
        for folder in self.folders - holding if self.files else ():
            if not _fits(folder, len(most)):
                self.misfits.add("/".join(folder), _MISFIT)
        if faults := [each.sentence(source) for each in (self.misfits, self.damaged) if each]:
            raise DataError(". ".join(faults))
        if self.deep and 0 < self.brightest < _DARK:
            raise DataError(
                f"{quoted(source)}: none of its pictures of 16 bits ({self.deep:,} in all) has a value above "
                f"{self.brightest} of 65535, and would be almost black; scale them to 16 bits, or save them with 8"
            )

    def classes(self) -> set[str]:
        """Return the classes of images, and of folders without any."""
        depth = len(next(iter(self.tops), ()))
        named = {folder[depth + 1] for folder in self.folders if len(folder) == depth + 2}
        return named | {kind for _, kind, _ in self.pixels}


def _contents(source: Path, limits: Limits, progress: Callable[[int], None] | None) -> tuple[Contents, int]:
    """Return the data set, and the number of hidden members that were skipped."""
    found = _Source(limits)
    with warnings.catch_warnings():
        # Pillow warns of oddities it can live with; those it can't are errors.
        warnings.simplefilter("ignore")
        for count, member in enumerate(_members(source, limits, found.wanted), start=1):
            if count > limits.members:
                raise DataError(f"{quoted(source.name)} has more than {limits.members} members; import fewer images")
            before = len(found.pixels)
            found.take(member)
            if progress and len(found.pixels) > before:
                progress(len(found.pixels))
    found.check(source.name)
    classes = _checked_classes(found, source)
    keys = sorted(found.pixels)
    arrays = {split: _arrays([key for key in keys if key[0] == split], found, classes) for split in SPLITS}
    described = f"imported from {source.name}" if is_plain(source.name) else "imported"
    return Contents(classes, described, *arrays["train"], *arrays["test"]), found.hidden


def _members(source: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    if source.is_dir():
        return folder_members(source, limits, wanted)
    if source.is_file():
        return archive_members(source, limits, wanted)
    raise DataError(f"{quoted(str(source))} is neither a folder nor a file; give the path of one")


def _split_depth(parts: tuple[str, ...]) -> int | None:
    """Return how many folders stand before a file's split, 0 or 1; None if it does not fit."""
    depth = len(parts) - len(("split", "class", "file"))
    return depth if depth in (0, 1) and parts[depth] in SPLITS else None


def _fits(folder: tuple[str, ...], depth: int) -> bool:
    """Whether an empty folder is allowed: a top folder, a split, or a class, which is then named."""
    return len(folder) <= depth or (len(folder) <= depth + 2 and folder[depth] in SPLITS)


def _checked_classes(found: _Source, source: Path) -> tuple[str, ...]:
    """Return the classes in order. Raises DataError unless each has images in both splits."""
    classes = tuple(sorted(found.classes()))
    if not found.pixels or len(classes) > MOST_CLASSES:
        what = f"more than {MOST_CLASSES} classes" if found.pixels else "no images"
        what += f" beside {found.hidden:,} hidden or system files and folders" if found.hidden else ""
        raise DataError(f"{quoted(source.name)} has {what}; lay it out as <split>/<class>/<file>, split train or test")
    present = {key[:2] for key in found.pixels}
    lacking = [(name, split) for name in classes for split in SPLITS if (split, name) not in present]
    if lacking:
        (name, split), texts = lacking[0], [f"{name} in {split}" for name, split in lacking]
        raise DataError(
            f"{quoted(source.name)}: class {quoted(name)} has no image in {split}; add some or drop it"
            f"{more(texts, len(texts))}"
        )
    return classes


def _arrays(keys: list[Key], found: _Source, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (N, 32, 32, 3) and labels int64 (N,), in the order of the keys."""
    index = {name: label for label, name in enumerate(classes)}
    pixels = np.frombuffer(b"".join(found.pixels[key] for key in keys), dtype=np.uint8)
    labels = np.array([index[key[1]] for key in keys], dtype=np.int64)
    return pixels.reshape(-1, CIFAR.side, CIFAR.side, CIFAR.channels), labels
