"""Checkpoint files: written whole or not at all, checked before anyone opens them. No torch in here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from cifarsweep.errors import CheckpointError
from cifarsweep.spec.words import CheckpointRef

_SUFFIX, _PARTIAL = ".pt", ".partial"


class CheckpointFolder:
    """The checkpoints of one trial.

    Several attempts may share the folder, even at once when one of them lost its lease without knowing: no two files
    ever have one name, and only who holds the lease removes any, once the database no longer points to them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        """Write a new file that is on the disk, name and all, when this returns. OSError leaves nothing behind."""
        self.path.mkdir(parents=True, exist_ok=True)
        # The random part keeps a second checkpoint of one step from replacing the first, which a pointer may name.
        target = self.path / f"step-{step:08d}-{secrets.token_hex(6)}{_SUFFIX}"
        partial = target.with_suffix(_PARTIAL)
        try:
            with partial.open("xb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
            _sync_folder(self.path)
        except OSError:
            for path in (partial, target):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        return CheckpointRef(step, str(target.resolve()), hashlib.sha256(payload).hexdigest(), len(payload))

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the bytes that `ref` promises, from this folder or else from the path it names.

        CheckpointError if there is no such file, or its size or digest differ.
        """
        path = self._find(ref)
        try:
            if path.stat().st_size != ref.bytes:
                raise CheckpointError(f"checkpoint {path} has {path.stat().st_size} bytes instead of {ref.bytes}")
            payload = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {path} can't be read: {error.strerror}") from error
        if hashlib.sha256(payload).hexdigest() != ref.sha256:
            raise CheckpointError(f"checkpoint {path} is damaged: its SHA-256 is not the recorded one")
        return payload

    def remove(self, paths: Iterable[str]) -> None:
        """Remove the files that pointers named so far; one that is gone already is no matter."""
        for path in paths:
            _remove(self.path / Path(path).name)

    def keep_only(self, path: str) -> None:
        """Remove all but one file, whatever earlier attempts left behind. For a trial that is done."""
        for file in self._files():
            if file.name != Path(path).name:
                _remove(file)

    def _find(self, ref: CheckpointRef) -> Path:
        # Another machine may see the shared folder under another path, and this one may be told another folder.
        for path in (self.path / Path(ref.path).name, Path(ref.path)):
            if path.is_file():
                return path
        raise CheckpointError(f"checkpoint {ref.path} is gone; it is not in {self.path} either")

    def _files(self) -> Iterator[Path]:
        for suffix in (_SUFFIX, _PARTIAL):
            yield from sorted(self.path.glob(f"step-*{suffix}"))


def _remove(path: Path) -> None:
    # A file that stays costs only space, and the next prune or sweep may have more luck.
    with contextlib.suppress(OSError):
        path.unlink()


def _sync_folder(path: Path) -> None:
    """Make the names in a folder durable; only POSIX systems offer (and need) it."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
