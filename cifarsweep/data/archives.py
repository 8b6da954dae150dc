"""Reads the members of folders, tar and zip archives of unknown origin. Nothing is ever extracted to disk.

Three things make an archive dangerous to a reader that writes no files: a special member (link, device), a small
archive that unpacks to a huge one, and a header that makes the tar reader read all of the archive at once. So members
are read one after another, through a meter that limits each step. The filters of tarfile guard extraction, which does
not happen here.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from cifarsweep.errors import DataError
from cifarsweep.text import is_plain, quoted

_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_PATH = 1024
#: Files that desktops and file servers create on their own, beside hidden ones.
_DESKTOP_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "__pycache__", "@eadir", "#recycle", "@recycle"}
    | {"$recycle.bin", "system volume information", "lost+found"}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an import; beyond them, its source is an attack or a mistake."""

    members: int = 2_000_000
    #: bytes of one file
    member_bytes: int = 64 * 2**20
    #: pixels of one image, before it is resized
    pixels: int = 50_000_000
    #: an archive may unpack to `floor_bytes`, or to `ratio` times its own size if that is more
    floor_bytes: int = 256 * 2**20
    ratio: int = 100
    #: bytes of all images together; None for as many as are free
    memory: int | None = None

    def unpacked(self, packed: int) -> int:
        """Return how many bytes an archive of `packed` bytes may unpack to."""
        return max(self.floor_bytes, self.ratio * packed)


DEFAULT_LIMITS = Limits()


#: Decides by the parts of its path whether a file's bytes are needed.
Wanted = Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class Member:
    """A file with its bytes, empty if they are not needed, or a folder with None. `where` names it in messages."""

    parts: tuple[str, ...]
    where: str
    data: bytes | None
    fault: str = ""
    """The problem of a member that is neither a plain file nor a folder."""


LINK = "is a link; put the file itself in its place"
SPECIAL = "is a device or another special file; only plain files and folders are read"


def member_name(source: str, name: str) -> str:
    """Return the name of a member for messages."""
    return f"{quoted(source)}: member {quoted(name)}"


def safe_parts(name: str, where: str) -> tuple[str, ...]:
    """Return the parts of a member's path. Raises DataError if it points outside or has strange characters."""
    # macOS keeps the icon of a folder in a file of this name.
    if not is_plain(name[:-1] if name.endswith("Icon\r") else name) or len(name) > _LONGEST_PATH:
        raise DataError(f"{where} has control characters, bytes that are not UTF-8 or too many of them; rename it")
    if "\\" in name:
        raise DataError(f"{where} has a backslash in its path; write / between folders")
    # macOS stores accents apart from their letters; both forms are the same name.
    parts = tuple(part for part in unicodedata.normalize("NFC", name).split("/") if part not in ("", "."))
    if name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        raise DataError(f"{where} points outside the archive; a path must be <split>/<class>/<file>")
    return parts


def is_desktop_file(parts: tuple[str, ...]) -> bool:
    """Whether a member is hidden, or a desktop or file server created it. Such members are skipped."""
    return any(part.startswith((".", "~$")) or part.casefold() in _DESKTOP_FILES for part in parts)


def check_size(size: int, where: str, limits: Limits) -> None:
    """Raise DataError if a file is larger than an image may be."""
    if not 0 <= size <= limits.member_bytes:
        raise DataError(f"{where} claims {size} bytes; a file may have at most {limits.member_bytes}")


#: The errors of the standard library's readers for damaged archives.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
#: Bytes between two members: a few blocks, and perhaps a long name.
_HEADER_BYTES = 2**18
#: Bytes of padding at the end: 10 KiB by default, more on request.
_TRAILER_BYTES = 2**24
_BLOCK = 2**16


def archive_members(path: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    """Yield every member in the archive's order. The first bytes decide which kind of archive it is.

    Raises DataError that names the member, for a path that points outside, for damage and for a bomb.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            if start.startswith(_ZIP_STARTS):
                yield from _zip_members(raw, path, limits, wanted)
            else:
                with _unpacked(raw, start) as stream:
                    yield from _tar_members(stream, path, limits, wanted)
    except _DAMAGE as error:
        raise DataError(
            f"{quoted(path.name)} is damaged, or not a .tar, .tar.gz, .tar.xz, .tar.bz2 or .zip archive "
            f"({quoted(str(error))}); get or make it again"
        ) from error


def _unpacked(raw: BinaryIO, start: bytes) -> contextlib.AbstractContextManager[_Readable]:
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(raw)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    return contextlib.nullcontext(raw)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Meter:
    """Passes on what a decompressor yields, within a limit for the archive and one for each step."""

    def __init__(self, stream: _Readable, name: str, limit: int) -> None:
        self._stream, self._name, self._limit = stream, name, limit
        self._total = self._allowed = 0
        self._step = ""
        self._tail = b""

    def allow(self, size: int, step: str) -> None:
        """Let the next step read `size` bytes more. Messages name it `step`."""
        self._allowed, self._step = self._total + size, step

    def read(self, size: int) -> bytes:
        """Read for tarfile. Raises DataError beyond the limits."""
        chunk = self._stream.read(size)
        self._total += len(chunk)
        if self._total > self._limit:
            raise DataError(f"{quoted(self._name)} unpacks to more than {self._limit} bytes; it looks like a bomb")
        if self._total > self._allowed:
            raise DataError(f"{self._step}: an oversized header follows; make the archive again")
        self._tail = (self._tail + chunk)[-tarfile.BLOCKSIZE :]
        return chunk

    def finish(self) -> None:
        """Read to the end, where gzip and xz keep their checksums. Raises EOFError if the archive was cut off."""
        self.allow(_TRAILER_BYTES, f"{quoted(self._name)}: the last member")
        while self.read(_BLOCK):
            pass
        if self._tail.strip(b"\0"):
            raise EOFError("it has no end mark")


def _tar_members(stream: _Readable, path: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    meter = _Meter(stream, path.name, limits.unpacked(path.stat().st_size))
    meter.allow(_HEADER_BYTES, f"{quoted(path.name)}: its start")
    # "r|" reads forward only, in blocks, and needs nothing of its file but `read`.
    with tarfile.open(fileobj=cast("IO[bytes]", meter), mode="r|") as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
            member = _tar_member(tar, info, path.name, limits, meter, wanted)
            unread = 0 if member.data else info.size
            meter.allow(unread + _HEADER_BYTES, member.where)
            yield member
    meter.finish()


def _tar_member(
    tar: tarfile.TarFile, info: tarfile.TarInfo, source: str, limits: Limits, meter: _Meter, wanted: Wanted
) -> Member:
    where = member_name(source, info.name)
    parts = safe_parts(info.name, where)
    if info.isdir():
        return Member(parts, where, None)
    if info.issym() or info.islnk():
        return Member(parts, where, b"", LINK)
    if not info.isreg() or info.issparse():
        return Member(parts, where, b"", SPECIAL)
    if is_desktop_file(parts) or not wanted(parts):
        return Member(parts, where, b"")
    check_size(info.size, where, limits)
    meter.allow(info.size + _HEADER_BYTES, where)
    file = tar.extractfile(info)
    data = file.read() if file else b""
    if len(data) != info.size:
        raise DataError(f"{where} is cut off; get the archive again")
    return Member(parts, where, data)


def _zip_members(raw: BinaryIO, path: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    left = limits.unpacked(path.stat().st_size)
    with zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            member = _zip_member(archive, info, path.name, limits, wanted)
            left -= len(member.data or b"")
            if left < 0:
                raise DataError(f"{member.where}: the archive unpacks to too many bytes; it looks like a bomb")
            yield member


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str, limits: Limits, wanted: Wanted) -> Member:
    # The original name, because zipfile cuts its own at the first zero byte.
    where = member_name(source, info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    parts = safe_parts(info.orig_filename, where)
    if stat.S_ISLNK(kind):
        return Member(parts, where, b"", LINK)
    if info.is_dir():
        return Member(parts, where, None)
    if kind and not stat.S_ISREG(kind):
        return Member(parts, where, b"", SPECIAL)
    if is_desktop_file(parts) or not wanted(parts):
        return Member(parts, where, b"")
    if info.flag_bits & 1:
        raise DataError(f"{where} is encrypted; make the archive without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks other methods without any limit
        raise DataError(f"{where} is compressed in a rare way; make the archive with plain deflate")
    check_size(info.file_size, where, limits)
    with archive.open(info) as file:
        data = file.read(info.file_size)
    if len(data) != info.file_size:
        raise DataError(f"{where} is cut off; get the archive again")
    return Member(parts, where, data)


def folder_members(folder: Path, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    """Yield every file and folder below, sorted by name. Raises DataError if one can't be read."""
    try:
        yield from _below(folder, "", folder.name, limits, wanted)
    except RecursionError:
        raise DataError(f"{folder} has too many folders in one another; import a folder that holds images") from None
    except OSError as error:
        raise DataError(f"can't read {error.filename or folder}: {error.strerror or error}") from error


def _below(folder: Path, prefix: str, source: str, limits: Limits, wanted: Wanted) -> Iterator[Member]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = f"{prefix}{entry.name}"
        where = member_name(source, name)
        if is_desktop_file((entry.name,)):
            yield Member((entry.name,), where, None)
            continue
        try:
            parts = safe_parts(name, where)
        except DataError as error:
            yield Member(tuple(name.split("/")), where, b"", str(error).removeprefix(where).strip())
            continue
        if entry.is_symlink():
            yield Member(parts, where, b"", LINK)
        elif entry.is_dir():
            yield Member(parts, where, None)
            yield from _below(Path(entry.path), f"{name}/", source, limits, wanted)
        elif entry.is_file():
            yield Member(parts, where, _bytes(entry, where, limits) if wanted(parts) else b"")
        else:
            yield Member(parts, where, b"", SPECIAL)


def _bytes(entry: os.DirEntry[str], where: str, limits: Limits) -> bytes:
    check_size(entry.stat().st_size, where, limits)
    return Path(entry.path).read_bytes()
