"""Checks of an SQLite file before it is opened: it is there, on a local disk, and this user may use it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from cifarsweep.errors import StoreError
from cifarsweep.files import exists

_NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "9p", "afs", "coda", "davfs"),
        *("beegfs", "ceph", "glusterfs", "gpfs", "lustre", "orangefs", "pvfs2"),
        *("fuse.ceph", "fuse.davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)


def check_file(path: Path, *, create: bool, read_only: bool, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise StoreError unless the SQLite file at `path` can be opened as asked."""
    check_library()
    try:
        _check_file(path, create=create, read_only=read_only, mounts=mounts)
    except OSError as error:
        raise StoreError(f"{path}: can't be accessed ({error.strerror}); give another --db") from None


def _check_file(path: Path, *, create: bool, read_only: bool, mounts: Path) -> None:
    if not exists(path) and not create:
        raise StoreError(
            f"{path}: there is no such database. `cifarsweep create STUDY` makes one, or give another --db"
        )
    if not path.parent.is_dir():
        raise StoreError(f"{path}: its folder does not exist; create it, or give another --db")
    if path.is_dir():
        raise StoreError(f"{path}: is a folder, not a database file; give another --db")
    check_local(path, mounts)
    target = path if exists(path) else path.parent
    if not os.access(target, os.R_OK):
        raise StoreError(f"{path}: can't be read; ask its owner for the right to read it")
    # SQLite writes a journal beside the file, so the folder counts as well.
    if not read_only and not (os.access(target, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise StoreError(f"{path}: it or its folder is read-only; give a --db that can be written")


def check_library() -> None:
    """Raise StoreError if Python's SQLite has no RETURNING."""
    if sqlite3.sqlite_version_info < (3, 35):
        raise StoreError(
            f"this Python's SQLite is {sqlite3.sqlite_version}, and 3.35 is the oldest that works; "
            "use a newer Python, or PostgreSQL"
        )


def check_local(path: Path, mounts: Path) -> None:
    """Raise StoreError where the file lies on a network file system, whose locks SQLite can't rely on."""
    kind = file_system(path, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path}: lies on a network file system ({kind}), where SQLite loses data as soon as two machines write. "
            "Use a local disk, or PostgreSQL: --db postgresql://user@host/database"
        )


def file_system(path: Path, mounts: Path) -> str:
    """The file system type of `path`, by the longest mount point above it; empty if unknown."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    real = path.resolve()
    best, kind = -1, ""
    for fields in (line.split(" ") for line in lines):
        # The kernel writes blanks in names as \040. Of two mounts on one point the later covers the earlier.
        point = Path(fields[1].encode().decode("unicode_escape"))
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def remove_stub(path: Path) -> None:
    """Remove a file that was to become a database and holds nothing, as where its disk is full.

    SQLite refuses to write if the file of an open connection is gone, so no other process loses a write.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            for suffix in ("", "-journal", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
