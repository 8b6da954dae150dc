"""One data set in one file, written once and then mapped.

The file is a safetensors file (https://huggingface.co/docs/safetensors: eight bytes with the length of a JSON header,
the header, then the raw arrays): reading it runs no code, any notebook can open it, and its arrays can be mapped, so
that all processes of a machine share one copy. Images are stored as (N, side, side, channels), the order in which
decoders make pixels and in which a crop is one run of bytes. The arrays' shapes say side and channels.

The package safetensors does neither job here. Its writer puts a file of its own in the place of the one that is
locked, with the metadata in a random order. Its reader imports numpy or torch for a look at a header, opens by name,
and reads through a mapping, so that a file that is cut meanwhile ends the process.

The content digest is SHA-256 over the class names, the arrays' names, types and shapes as canonical JSON, and then
the arrays' bytes. It is the same on every machine that converted the same images.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cifarsweep.errors import DataError
from cifarsweep.files import part, replace_durably
from cifarsweep.spec.image_shape import LARGEST, SMALLEST, ImageShape
from cifarsweep.text import is_plain

if TYPE_CHECKING:  # reading a header needs no numpy, so the command line starts without it
    import numpy as np
    from numpy.typing import NDArray

SUFFIX = ".safetensors"
LONGEST_CLASS_NAME, MOST_CLASSES = 128, 10_000
_PAGE = 4096
_LONGEST_HEADER = 16 * 2**20
_BLOCK = 2**20

#: The state of a file without reading it: inode, size, and times of the last change of contents and inode in ns.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """A data set in memory: images uint8 (N, side, side, channels), labels int64 (N,) that index `classes`."""

    classes: tuple[str, ...]
    source: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    @property
    def shape(self) -> ImageShape:
        return ImageShape(*self.train_images.shape[2:])

    @property
    def table(self) -> dict[str, Any]:
        """The arrays as safetensors lists them."""
        return _table(len(self.train_labels), len(self.test_labels), self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """The description of a data set in its file. `train` and `test` count images; the arrays begin at byte `start`."""

    classes: tuple[str, ...]
    source: str
    sha256: str
    train: int
    test: int
    start: int
    shape: ImageShape

    @property
    def table(self) -> dict[str, Any]:
        """The arrays as safetensors lists them."""
        return _table(self.train, self.test, self.shape)

    @property
    def stop(self) -> int:
        """The file's size in bytes."""
        last: int = self.table["test_labels"]["data_offsets"][1]
        return self.start + last


def write(path: Path, contents: Contents) -> Header:
    """Put the data set at `path` all at once: until it is complete and on disk, `path` stays as it was.

    Raises DataError if the file can't be written or the contents don't form a data set.
    """
    head = _header_bytes(contents, digest_of(contents))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part(path) as temporary:
            with temporary.open("wb") as file:
                file.write(head)
                for block in _raw(contents):
                    file.write(block)
            header = read_header(temporary)
            replace_durably(temporary, path)
    except OSError as error:
        raise DataError(
            f"can't write the data set to {path}: {error.strerror or error}; make room or rights there, "
            "or let CIFARSWEEP_DATA name another folder"
        ) from error
    return header


def read_header(path: Path) -> Header:
    """Read and check everything but the arrays' bytes. Raises DataError for anything `write` did not make."""
    with _opened(path) as file:
        return _parse(file)


class MappedFile:
    """The header, and the whole file mapped copy-on-write, so that processes share its memory.

    Raises DataError as `read_header`. The two belong together even if the file is replaced. A write into the file
    changes the mapped memory too, which `check` detects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _opened(path) as file:
            self.header = _parse(file)
            self.buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        self._checked: Stamp | None = None

    def check(self, trusted: Stamp | None = None) -> None:
        """Raise DataError unless the mapped memory has the digest of the header.

        It is read only if the stamp of the file differs from that of the last check and from `trusted`, at which
        another process has read it.
        """
        stamp = stamp_of(self._file)
        if stamp is not None and stamp in (self._checked, trusted):
            self._checked = stamp
            return
        # A process that reads mapped bytes beyond the end of a cut file is killed.
        whole = stamp is not None and stamp[1] == self.header.stop
        if not whole or self._digest() != self.header.sha256:
            raise DataError(
                f"{self.path} is damaged, or was written to: it does not hold the images of its digest "
                f"{self.header.sha256[:12]}...; delete it, then download, import or make the data set again"
            )
        self._checked = stamp

    def _digest(self) -> str:
        with memoryview(self.buffer) as view, view[self.header.start : self.header.stop] as arrays:
            return _digest(self.header.classes, self.header.table, [arrays])


def class_counts(path: Path) -> tuple[list[int], list[int]]:
    """Return how many training and how many test images each class has. Raises DataError as `read_header`."""
    import numpy as np

    with _opened(path) as file:
        header = _parse(file)
        counts = []
        for split in ("train", "test"):
            begin, end = header.table[f"{split}_labels"]["data_offsets"]
            file.seek(header.start + begin)
            labels = np.frombuffer(file.read(end - begin), "<i8")
            counts.append(np.bincount(labels, minlength=len(header.classes)).tolist())
        return counts[0], counts[1]


def stamp_of(file: Path | int) -> Stamp | None:
    """Return the stamp of a file by its path or descriptor; None if it can't be told."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file, and turn errors of opening and parsing it into DataError."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"can't read the data set {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged or was not written by cifarsweep ({error}); "
            "delete it, then download, import or make the data set again"
        ) from error


def digest_of(contents: Contents) -> str:
    """Return the content digest of a data set in memory."""
    return _digest(contents.classes, contents.table, _raw(contents))


def digest_of_file(path: Path) -> str:
    """Compute the content digest of the arrays in the file. Raises DataError as `read_header`."""
    with _opened(path) as file:
        header = _parse(file)
        return _digest(header.classes, header.table, iter(lambda: file.read(_BLOCK), b""))


def _digest(classes: tuple[str, ...], table: Mapping[str, Any], blocks: Iterable[bytes | memoryview]) -> str:
    contents = {"classes": classes, "arrays": table}
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True, separators=(",", ":")).encode())
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _table(train: int, test: int, image: ImageShape) -> dict[str, Any]:
    """Return the arrays as safetensors lists them; two counts and the shape of an image decide everything else."""
    table: dict[str, Any] = {}
    start = 0
    for split, count in (("train", train), ("test", test)):
        for array, dtype, shape, size in (
            ("images", "U8", [count, image.side, image.side, image.channels], count * image.bytes),
            ("labels", "I64", [count], count * 8),
        ):
            table[f"{split}_{array}"] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
            start += size
    return table


def _header_bytes(contents: Contents, sha256: str) -> bytes:
    metadata = {"classes": json.dumps(contents.classes), "source": contents.source, "sha256": sha256}
    text = json.dumps({"__metadata__": metadata, **contents.table}).encode()
    # Padded to whole pages, so that the arrays are aligned for any reader.
    text = text.ljust(-(-(len(text) + 8) // _PAGE) * _PAGE - 8)
    return len(text).to_bytes(8, "little") + text


def _raw(contents: Contents) -> Iterator[memoryview]:
    for name, dtype in (("train_images", "u1"), ("train_labels", "<i8"), ("test_images", "u1"), ("test_labels", "<i8")):
        yield memoryview(getattr(contents, name).astype(dtype, order="C", copy=False).reshape(-1).view("u1"))


def _parse(file: BinaryIO) -> Header:
    """Parse and check a header. `_opened` turns the errors into DataError."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(size - 8, _LONGEST_HEADER):
        raise ValueError("its header has an impossible length")
    tree = json.loads(file.read(length))
    metadata = tree.pop("__metadata__")
    header = Header(
        classes=_classes(json.loads(metadata["classes"])),
        source=_text(metadata["source"]),
        sha256=_text(metadata["sha256"]),
        train=tree["train_labels"]["shape"][0],
        test=tree["test_labels"]["shape"][0],
        start=8 + length,
        shape=_shape(tree["train_images"]["shape"]),
    )
    if type(header.train) is not int or type(header.test) is not int or min(header.train, header.test) < 1:
        raise ValueError("it has no images")
    if tree != header.table:
        raise ValueError("its arrays are not those of a data set")
    if size != header.stop:
        raise ValueError(f"it has {size} bytes instead of {header.stop}")
    return header


def _shape(array: list[Any]) -> ImageShape:
    _, side, _, channels = array
    if type(side) is not int or not SMALLEST <= side <= LARGEST or type(channels) is not int or channels not in (1, 3):
        raise ValueError("its images have an impossible shape")
    return ImageShape(side, channels)


def _classes(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not 1 <= len(names) <= MOST_CLASSES or len(set(names)) != len(names):
        raise ValueError("its classes are not a list of different names")
    return tuple(_text(name) for name in names)


def _text(value: object) -> str:
    if not isinstance(value, str) or not is_plain(value):
        raise ValueError("a text in its header is not plain text")
    return value
