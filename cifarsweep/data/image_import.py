"""Imports a folder or an archive of images as a data set: `<split>/<class>/<file>`, or `<class>/<file>` to be split.

Imports no torch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.archives import (
    DEFAULT_LIMITS,
    Limits,
    Member,
    Wanted,
    archive_members,
    folder_members,
    is_desktop_file,
)
from cifarsweep.data.image_decoding import Fit, NoImage, decode_image
from cifarsweep.data.import_layout import IN_A_SPLIT, SPLITS, Key, Layout, Problems, more, with_splits
from cifarsweep.data.import_notes import Changes
from cifarsweep.data.tensor_file import LONGEST_CLASS_NAME, MOST_CLASSES, Contents
from cifarsweep.errors import DataError
from cifarsweep.files import exists
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.text import is_plain, quoted

#: Endings of files that are images, also of formats that are not read. Where a file is in a wrong place, they decide
#: whether `skip_others` may go past it.
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".jp2")
#: If no image of 16 bits has a value as high as this, 14 bits or fewer were saved without scaling.
_DARK = 2**14


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What becomes of the images: their shape, how others fit into it, and which are test images.

    `test` is the part of each class that is split off by `seed`; None where the folders say it. With `skip_others`,
    files that are no images are left out, and folders without any are no classes.
    """

    shape: ImageShape = CIFAR
    fit: Fit = "stretch"
    test: float | None = None
    seed: int = 0
    skip_others: bool = False

    def __post_init__(self) -> None:
        """Raise DataError for a part that is none."""
        if self.test is not None and not 0 < self.test < 1:
            raise DataError(f"--test: {self.test:g} is no part of the images; give one between 0 and 1, such as 0.2")

    def __str__(self) -> str:
        """The options as the command line has them; nothing for the defaults."""
        given = {
            f"--size {self.shape.side}": self.shape.side != CIFAR.side,
            "--grey": self.shape.channels == 1,
            f"--fit {self.fit}": self.fit != "stretch",
            f"--test {self.test} --seed {self.seed}" if self.test is not None else "": self.test is not None,
            "--skip-others": self.skip_others,
        }
        return " ".join(option for option, is_given in given.items() if is_given)


def import_images(
    name: str,
    source: Path,
    root: Path | None = None,
    replace: bool = False,
    options: ImportOptions = ImportOptions(),
    *,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> catalog.DataSetInfo:
    """Import the images of `source` as data set `name`.

    `progress` gets the number of decoded images, `note` sentences on what was left out or changed. The same images
    under the same name change nothing, except a damaged file; others need `replace`. Raises DataError without writing
    anything.
    """
    path = catalog.path_of(name, root)
    if name.casefold() in catalog.BUILT_IN:
        raise DataError(f"{name!r} is a built-in data set; choose another name")
    before = None if replace else catalog.info(name, root)
    contents, notes = _contents(_resolved(source), options, limits, progress)
    if before is not None and before.sha256 != tensor_file.digest_of(contents):
        raise DataError(f"data set {name!r} holds other images; choose another name, or add --replace")
    if before is None or before.sha256 != tensor_file.digest_of_file(path):
        tensor_file.write(path, contents)
    if note:
        for text in notes:
            note(text)
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


@dataclass(slots=True)
class _Source:
    """The members so far. Their order does not matter."""

    options: ImportOptions
    limits: Limits
    layout: Layout
    changes: Changes
    pixels: dict[Key, bytes] = field(default_factory=dict)
    digests: dict[Key, bytes] = field(default_factory=dict)
    """Of the images' files."""
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
        return self.layout.depth(parts) is not None and parts not in self.files and len(parts[-2]) <= LONGEST_CLASS_NAME

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
        parts, name, depth = member.parts, "/".join(member.parts), self.layout.depth(member.parts)
        if member.fault:
            self.misfits.add(name, member.fault)
        elif depth is None and self.options.skip_others and not name.casefold().endswith(_IMAGE_ENDINGS):
            self.changes.others.append(name)
        elif depth is None:
            self.misfits.add(name, self.layout.misfit(parts))
        elif parts in self.files:
            self.misfits.add(name, "is there twice; keep one of them")
        elif len(parts[-2]) > LONGEST_CLASS_NAME:
            self.misfits.add(name, f"has too long a class name: at most {LONGEST_CLASS_NAME} characters; shorten it")
        self.files.add(parts)

    def _decode(self, member: Member, data: bytes) -> None:
        name, options, picture = "/".join(member.parts), self.options, None
        try:
            picture = decode_image(data, member.where, self.limits.pixels, options.shape, options.fit)
        except DataError as error:
            if isinstance(error, NoImage) and options.skip_others:
                self.changes.others.append(name)
                return
            self.damaged.add(name, str(error).removeprefix(member.where).strip())
        top = member.parts[: self.layout.depth(member.parts)]
        self.tops[top] += 1
        self.examples[top] = min(name, self.examples.get(top, name))
        if picture is None:
            return
        key = self.layout.key(member.parts)
        self.pixels[key] = picture.pixels
        self.digests[key] = hashlib.sha256(data).digest()
        self.changes.add(name, picture)
        if picture.brightest is not None:
            self.deep += 1
            self.brightest = max(self.brightest, picture.brightest)

    def check(self, source: str) -> None:
        """Raise DataError that counts all problems: of folders first, then of images."""
        most = max(self.tops, key=lambda top: (self.tops[top], top), default=())
        for top in self.tops.keys() - {most}:
            of_split = self.layout.plain and set(top) <= set(SPLITS) and set(most) <= set(SPLITS)
            why = IN_A_SPLIT if of_split else "lies in another top folder; keep one, or none"
            self.misfits.add(self.examples[top], why, self.tops[top])
        holding = {file[:end] for file in self.files for end in range(len(file))}
        for folder in self.folders - holding if self.files and not self.options.skip_others else ():
            if not self.layout.allows(folder, len(most)):
                self.misfits.add("/".join(folder), self.layout.misfit(folder))
        if faults := [each.sentence(source) for each in (self.misfits, self.damaged) if each]:
            raise DataError(". ".join(faults) + self._hint())
        if self.deep and 0 < self.brightest < _DARK:
            raise DataError(
                f"{quoted(source)}: none of its pictures of 16 bits ({self.deep:,} in all) has a value above "
                f"{self.brightest} of 65535, and would be almost black; scale them to 16 bits, or save them with 8"
            )

    def _hint(self) -> str:
        """Tell of `--test` where no file fits, and some would."""
        if self.layout.plain or self.tops or not any(Layout(plain=True).depth(file) is not None for file in self.files):
            return ""
        return ". If they lie as <class>/<file>, --test 0.2 makes a fifth of each class test images"

    def classes(self) -> set[str]:
        """Return the classes of images, and of folders without any."""
        kinds = {kind for _, kind, _ in self.pixels}
        if self.options.skip_others:
            return kinds
        depth = len(next(iter(self.tops), ()))
        named = {self.layout.class_of(folder, depth) for folder in self.folders}
        return kinds | {kind for kind in named if kind is not None}


def _contents(
    source: Path, options: ImportOptions, limits: Limits, progress: Callable[[int], None] | None
) -> tuple[Contents, list[str]]:
    """Return the data set, and sentences on what was left out or changed."""
    layout = Layout(plain=options.test is not None)
    found = _Source(options, limits, layout, Changes(options.shape, options.fit))
    memory = psutil.virtual_memory().available if limits.memory is None else limits.memory
    with warnings.catch_warnings():
        # Pillow warns of oddities it can live with; those it can't are errors.
        warnings.simplefilter("ignore")
        for count, member in enumerate(_members(source, limits, found.wanted), start=1):
            if count > limits.members:
                raise DataError(f"{quoted(source.name)} has more than {limits.members} members; import fewer images")
            before = len(found.pixels)
            found.take(member)
            if len(found.pixels) > before:
                _check_memory(len(found.pixels), options.shape, memory, source.name)
                if progress:
                    progress(len(found.pixels))
    found.check(source.name)
    if options.test is not None and found.pixels:
        splits = with_splits(found.digests, options.test, options.seed)
        found.pixels = {splits[key]: pixels for key, pixels in found.pixels.items()}
    classes = _checked_classes(found, source)
    hidden = [f"{found.hidden:,} hidden or system files and folders were left out"] if found.hidden else []
    notes = [*hidden, *found.changes.sentences(), *_copies(found.pixels)]
    keys = sorted(found.pixels)
    arrays = {split: _arrays([key for key in keys if key[0] == split], found, classes) for split in SPLITS}
    described = f"imported from {source.name}" if is_plain(source.name) else "imported"
    described = " ".join([described, *[str(options)] * bool(str(options))])
    return Contents(classes, described, *arrays["train"], *arrays["test"]), notes


def _check_memory(images: int, shape: ImageShape, memory: int, source: str) -> None:
    if images * shape.bytes > memory:
        raise DataError(
            f"{quoted(source)} has more than {images - 1:,} images, and those of {shape} are larger together than the "
            f"{memory / 1e9:,.1f} GB of memory that are free; choose a smaller --size, or import them elsewhere"
        )


def _copies(pixels: Mapping[Key, bytes]) -> Iterator[str]:
    """Yield a sentence on test images that are training images too."""
    trained = {each for (split, _, _), each in pixels.items() if split == "train"}
    count = sum(each in trained for (split, _, _), each in pixels.items() if split == "test")
    if count:
        what = "1 test image is a training image" if count == 1 else f"{count:,} test images are training images"
        yield f"{what} too, pixel for pixel: accuracies on the test set say too much"


def _members(source: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    if source.is_dir():
        return folder_members(source, limits, wanted)
    if source.is_file():
        return archive_members(source, limits, wanted)
    raise DataError(f"{quoted(str(source))} is neither a folder nor a file; give the path of one")


def _checked_classes(found: _Source, source: Path) -> tuple[str, ...]:
    """Return the classes in order. Raises DataError unless each has images in both splits."""
    classes = tuple(sorted(found.classes()))
    if not found.pixels or len(classes) > MOST_CLASSES:
        what = f"more than {MOST_CLASSES} classes" if found.pixels else "no images"
        what += f" beside {found.hidden:,} hidden or system files and folders" if found.hidden else ""
        how = "<class>/<file>" if found.layout.plain else "<split>/<class>/<file>, split train or test"
        raise DataError(f"{quoted(source.name)} has {what}; lay it out as {how}")
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
    """Return images uint8 (N, side, side, channels) and labels int64 (N,), in the order of the keys.

    The images leave `found`, which needs as much memory as they do.
    """
    index, shape = {name: label for label, name in enumerate(classes)}, found.options.shape
    labels = np.array([index[key[1]] for key in keys], dtype=np.int64)
    pixels = np.empty((len(keys), shape.bytes), dtype=np.uint8)
    for place, key in enumerate(keys):
        pixels[place] = np.frombuffer(found.pixels.pop(key), dtype=np.uint8)
    return pixels.reshape(-1, shape.side, shape.side, shape.channels), labels
