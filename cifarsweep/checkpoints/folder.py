"""Checkpoint files: written whole or not at all, and checked before they are used. Imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from cifarsweep.errors import CheckpointError, CheckpointNotFound
from cifarsweep.files import part, private_mode, replace_durably, sweep
from cifarsweep.spec.types import CheckpointRef

_PREFIX, _SUFFIX = "step-", ".pt"
#: The suffix of half-written files of earlier versions.
_PARTIAL = ".partial"


class Folder(Protocol):
    """The checkpoints of one trial, on a disk or in an object store. Messages name it by `str`.

    Several attempts may share it, even at once if one of them lost its lease unnoticed. So no two files ever have the
    same name, and only the holder of the lease removes files, once the database no longer points to them.
    """

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        """Write a new file, durable when this returns. Earlier files stay as they are. OSError if it fails."""

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the contents of a checkpoint.

        CheckpointNotFound if there is no such file here, CheckpointError if its size or digest differ.
        """

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files; absent ones are ignored."""

    def keep_only(self, path: str) -> None:
        """Remove all files but one, or all for an empty path, also those that earlier attempts left."""


class CheckpointFolder:
    """A `Folder` on a local or mounted disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / new_name(step)
        try:
            with part(target, mode=private_mode(self.path)) as partial:
                partial.write_bytes(payload)
                replace_durably(partial, target)
        except OSError:
            _remove(target)
            raise
        return make_ref(step, str(target.resolve()), payload)

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the contents of a checkpoint, from this folder or else from the path in `ref`."""
        path = self._find(ref)
        try:
            check_size(ref, path.stat().st_size)
            payload = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {path} can't be read: {error.strerror}") from error
        return check_payload(payload, ref)

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            _remove(self.path / Path(path).name)

    def keep_only(self, path: str) -> None:
        sweep(self.path)
        for file in self._files():
            if file.name != Path(path).name:
                _remove(file)

    def _find(self, ref: CheckpointRef) -> Path:
        # Other machines may see the shared folder under other paths, and --artifacts may name another folder now.
        for path in (self.path / Path(ref.path).name, Path(ref.path)):
            # Unlike Path.is_file, which raises in a folder that is closed to us, such as another user's.
            if os.path.isfile(path):
                return path
        raise CheckpointNotFound(f"checkpoint {ref.path} is gone; it is not in {self.path} either")

    def _files(self) -> Iterator[Path]:
        for suffix in (_SUFFIX, _PARTIAL):
            yield from sorted(self.path.glob(f"{_PREFIX}*{suffix}"))


def new_name(step: int) -> str:
    """A name that no other checkpoint has: the database may still point to an earlier one of the same step."""
    return f"{_PREFIX}{step:08d}-{secrets.token_hex(6)}{_SUFFIX}"


def is_checkpoint(path: str) -> bool:
    """Whether the file is named like a checkpoint."""
    name = path.rpartition("/")[2]
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def make_ref(step: int, path: str, payload: bytes | memoryview) -> CheckpointRef:
    """Return the reference to a file that holds `payload`."""
    return CheckpointRef(step, path, hashlib.sha256(payload).hexdigest(), len(payload))


def check_size(ref: CheckpointRef, size: int) -> None:
    """Raise CheckpointError if the file has another size, before all of it is read."""
    if size != ref.bytes:
        raise CheckpointError(f"checkpoint {ref.path} has {size} bytes instead of {ref.bytes}")


def check_payload(payload: bytes, ref: CheckpointRef) -> bytes:
    """Return the payload. CheckpointError if its size or digest differ from the reference."""
    check_size(ref, len(payload))
    if hashlib.sha256(payload).hexdigest() != ref.sha256:
        raise CheckpointError(f"checkpoint {ref.path} is damaged: its SHA-256 is not the recorded one")
    return payload


def _remove(path: Path) -> None:
    # A file that stays costs only space, and the next sweep may remove it.
    with contextlib.suppress(OSError):
        path.unlink()
