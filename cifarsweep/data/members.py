"""What a folder or an archive of images may hold: plain files and folders with harmless paths, within limits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from cifarsweep.data.text import is_plain, shown
from cifarsweep.errors import DataError

_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_PATH = 1024
#: What desktops and file servers leave in folders and archives without being asked, beside what is hidden.
_LITTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "__pycache__", "@eadir", "#recycle", "@recycle"}
    | {"$recycle.bin", "system volume information", "lost+found"}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an import may read before it is taken for an attack or a mistake."""

    members: int = 2_000_000
    #: bytes of one file
    member_bytes: int = 64 * 2**20
    #: pixels of one image, before it is made small
    pixels: int = 50_000_000
    #: an archive may unpack to `floor_bytes`, or to `ratio` times its own size if that is more
    floor_bytes: int = 256 * 2**20
    ratio: int = 100

    def unpacked(self, packed: int) -> int:
        """The most bytes that an archive of `packed` bytes may unpack to."""
        return max(self.floor_bytes, self.ratio * packed)


DEFAULT_LIMITS = Limits()


#: Whether a file's bytes are wanted, by the parts of its path.
Wanted = Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class Member:
    """A file with its bytes, empty where they are not wanted, or a folder with None. `where` names it in messages."""

    parts: tuple[str, ...]
    where: str
    data: bytes | None
    fault: str = ""
    """Why it is neither a plain file nor a folder."""


LINK = "is a link; put the file itself in its place"
SPECIAL = "is a device or another special file; only plain files and folders are read"


def location(source: str, name: str) -> str:
    """A member as messages name it."""
    return f"{shown(source)}: member {shown(name)}"


def safe_parts(name: str, where: str) -> tuple[str, ...]:
    """The parts of a member's path. Raises DataError for a path that could point outside or upset a reader."""
    # The one file of a desktop whose name is not plain: macOS keeps the picture of a folder in it.
    if not is_plain(name[:-1] if name.endswith("Icon\r") else name) or len(name) > _LONGEST_PATH:
        raise DataError(f"{where} has control characters, bytes that are not UTF-8 or too many of them; rename it")
    if "\\" in name:
        raise DataError(f"{where} has a backslash in its path; write / between folders")
    # A name is one name however its accents are stored: macOS takes them apart.
    parts = tuple(part for part in unicodedata.normalize("NFC", name).split("/") if part not in ("", "."))
    if name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        raise DataError(f"{where} points outside the archive; a path must be <split>/<class>/<file>")
    return parts


def is_litter(parts: tuple[str, ...]) -> bool:
    """Whether a member is hidden, or was left behind by a desktop or a file server: it is passed over."""
    return any(part.startswith((".", "~$")) or part.casefold() in _LITTER for part in parts)


def check_size(size: int, where: str, limits: Limits) -> None:
    """Raises DataError for a size that no image has."""
    if not 0 <= size <= limits.member_bytes:
        raise DataError(f"{where} claims {size} bytes; a file may have at most {limits.member_bytes}")
