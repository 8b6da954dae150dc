"""Files that appear whole or not at all, and their modes."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from cifarsweep.errors import CifarsweepError

_PART = re.compile(r"\.cifarsweep-[0-9a-f]{16}\.partial")


class HomeError(CifarsweepError):
    """The user has no home folder."""


def exists(path: Path) -> bool:
    """Whether the path leads to something. Raises OSError if the system does not tell.

    Since Python 3.14 `Path.exists` says no then.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return True


def private_mode(folder: Path) -> int:
    """The mode of a new private file: for its owner, and for the group if only that may write in the folder too.

    The umask may take more away.
    """
    try:
        mode = folder.stat().st_mode
    except OSError:
        return 0o600
    return 0o660 if mode & (stat.S_IWGRP | stat.S_IWOTH) == stat.S_IWGRP else 0o600


def private_opener(path: str, flags: int) -> int:
    """An opener for `open`, which makes new files private."""
    return os.open(path, flags, private_mode(Path(path).parent))


def make_private(path: Path) -> None:
    """Make an empty private file; a file that is there keeps its mode."""
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, private_mode(path.parent)))


@contextmanager
def part(target: Path, *, folder: bool = False, mode: int = 0o777) -> Iterator[Path]:
    """An empty file or folder beside `target` to write to. The caller renames it; otherwise it is removed at the end.

    It is locked while its writer lives, so that `sweep` can tell what a killed writer left from the work of others.
    """
    sweep(target.parent)
    path, handle = _create(target.parent, folder, mode)
    try:
        yield path
    finally:
        remove(path)
        os.close(handle)


def replace_durably(written: Path, target: Path) -> None:
    """Move a complete file to `target`, replacing the one there. Contents and name survive a power cut afterwards."""
    sync(written)
    os.replace(written, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Write a file's contents, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all, but may be lost in a power cut."""
    with part(target) as written:
        written.write_bytes(content)
        os.replace(written, target)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of our own among the system's temporary files; folders of killed processes are removed too."""
    with part(Path(tempfile.gettempdir()) / "scratch", folder=True, mode=0o700) as folder:
        yield folder


def sweep(folder: Path) -> None:
    """Remove parts whose writers are gone."""
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [Path(entry.path) for entry in entries if _PART.fullmatch(entry.name)]:
            with suppress(OSError):
                _remove_unlocked(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with its contents. A failure is no error: the reason for removing it says more."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _create(parent: Path, folder: bool, mode: int) -> tuple[Path, int]:
    while True:
        # A name of its own: the target's may be as long as names can be.
        path = parent / f".cifarsweep-{secrets.token_hex(8)}.partial"
        if folder:
            path.mkdir(mode)
            handle = os.open(path, os.O_RDONLY)
        else:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode & 0o666)
        # Another process may have swept it, or begun to, before it was locked.
        if _lock(handle) and os.path.exists(path):
            return path, handle
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock the file; False if another process has locked it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some file systems have no locks; nothing is swept there.
        return True
    return True


def _remove_unlocked(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(path)
    finally:
        os.close(handle)


def user_data_folder() -> Path:
    """The folder of our data for this user; it need not exist. Raises HomeError if the user has no home."""
    try:
        return Path(platformdirs.user_data_dir("cifarsweep", appauthor=False))
    except RuntimeError:
        raise HomeError(no_home()) from None


def no_home() -> str:
    """Why there is no home folder, as in a container that runs under an unknown user number."""
    return f"user {os.getuid()} has no home folder here: $HOME is not set, and no list of users names one"
