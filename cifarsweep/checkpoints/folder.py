"""Checkpoint files: written whole or not at all, checked before anyone opens them. No torch in here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from cifarsweep.errors import CheckpointError, CheckpointUnseen
from cifarsweep.files import part, private_mode, replace_durably, sweep
from cifarsweep.spec.types import CheckpointRef

_PREFIX, _SUFFIX = "step-", ".pt"
#: What an attempt of an earlier version left half written.
_PARTIAL = ".partial"


class Folder(Protocol):
    """The checkpoints of one trial, wherever they lie; `str` names the place in messages.

    Several attempts may share it, even at once when one of them lost its lease without knowing: no two files ever have
    one name, and only who holds the lease removes any, once the database no longer points to them.
    """

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        """Write a new file, which lasts once this returns. OSError where it can't; earlier files stay as they are."""

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the bytes that `ref` promises.

        CheckpointUnseen if there is no such file here, CheckpointError if its size or digest differ.
        """

    def remove(self, paths: Iterable[str]) -> None:
        """Remove the files that pointers named so far; one that is gone already is no matter."""

    def keep_only(self, path: str) -> None:
        """Remove all but one file, whatever earlier attempts left behind. For a trial that is done."""


class CheckpointFolder:
    """A `Folder` on a disk of this machine, or on one that it has mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        """Write a new file that is on the disk, name and all, when this returns. OSError leaves nothing behind."""
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / new_name(step)
        try:
            with part(target, mode=private_mode(self.path)) as partial:
                partial.write_bytes(payload)
                replace_durably(partial, target)
        except OSError:
            _remove(target)
            raise
        return pointer(step, str(target.resolve()), payload)

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the bytes that `ref` promises, from this folder or else from the path it names.

        CheckpointUnseen if there is no such file, CheckpointError if its size or digest differ.
        """
        path = self._find(ref)
        try:
            check_size(ref, path.stat().st_size)
            payload = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {path} can't be read: {error.strerror}") from error
        return verified(payload, ref)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove the files that pointers named so far; one that is gone already is no matter."""
        for path in paths:
            _remove(self.path / Path(path).name)

    def keep_only(self, path: str) -> None:
        """Remove all but one file, whatever earlier attempts left behind. For a trial that is done."""
        sweep(self.path)
        for file in self._files():
            if file.name != Path(path).name:
                _remove(file)

    def _find(self, ref: CheckpointRef) -> Path:
        # Another machine may see the shared folder under another path, and this one may be told another folder.
        for path in (self.path / Path(ref.path).name, Path(ref.path)):
            # Unlike Path.is_file, which raises in a folder that is closed to us, such as another user's.
            if os.path.isfile(path):
                return path
        raise CheckpointUnseen(f"checkpoint {ref.path} is gone; it is not in {self.path} either")

    def _files(self) -> Iterator[Path]:
        for suffix in (_SUFFIX, _PARTIAL):
            yield from sorted(self.path.glob(f"{_PREFIX}*{suffix}"))


def new_name(step: int) -> str:
    """A name that no other checkpoint has: a pointer may name an earlier one of the same step, which must stay."""
    return f"{_PREFIX}{step:08d}-{secrets.token_hex(6)}{_SUFFIX}"


def is_checkpoint(path: str) -> bool:
    """Whether `new_name` may have made the name of this file."""
    name = path.rpartition("/")[2]
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def pointer(step: int, path: str, payload: bytes | memoryview) -> CheckpointRef:
    """What the database has to know of a file that holds `payload`."""
    return CheckpointRef(step, path, hashlib.sha256(payload).hexdigest(), len(payload))


def check_size(ref: CheckpointRef, size: int) -> None:
    """Raise CheckpointError unless a file of `size` bytes may be the one, before all of it is read."""
    if size != ref.bytes:
        raise CheckpointError(f"checkpoint {ref.path} has {size} bytes instead of {ref.bytes}")


def verified(payload: bytes, ref: CheckpointRef) -> bytes:
    """Return the payload. CheckpointError where it is not what the pointer promises."""
    check_size(ref, len(payload))
    if hashlib.sha256(payload).hexdigest() != ref.sha256:
        raise CheckpointError(f"checkpoint {ref.path} is damaged: its SHA-256 is not the recorded one")
    return payload


def _remove(path: Path) -> None:
    # A file that stays costs only space, and the next prune or sweep may have more luck.
    with contextlib.suppress(OSError):
        path.unlink()
