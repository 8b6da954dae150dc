"""Checkpoints in an object store, or any other file system that fsspec reaches. No torch in here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from fsspec import AbstractFileSystem
from tenacity import (
    retry,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from cifarsweep.checkpoints.folder import CheckpointFolder, check_size, is_checkpoint, new_name, pointer, verified
from cifarsweep.errors import CheckpointError, CheckpointUnseen
from cifarsweep.spec.types import CheckpointRef

#: Stores without folders: making one there would make a bucket.
_FLAT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "obs"})
_ANSWERS = (FileNotFoundError, PermissionError)


class ObjectFolder:
    """A `Folder` below a URL, a new key for each file: a store puts a key whole or not at all.

    Elsewhere half a file may stay; no pointer ever names it. Reading is tried four times, over a few seconds.
    """

    def __init__(self, store: AbstractFileSystem, path: str, url: str) -> None:
        self._store, self._path, self._url = store, path, url
        self._flat = url.partition("://")[0] in _FLAT

    def __str__(self) -> str:
        return self._url

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        """Upload a new file. OSError where the store does not take it; earlier files stay as they are."""
        name = new_name(step)
        with _one_kind_of_error():
            if not self._flat:
                self._store.makedirs(self._path, exist_ok=True)
            self._store.pipe_file(f"{self._path}/{name}", bytes(payload))
            size = self._store.size(f"{self._path}/{name}")
        if size != len(payload):
            self.remove([name])
            raise OSError(f"{name} arrived with {size} bytes instead of {len(payload)}")
        return pointer(step, f"{self._url}/{name}", payload)

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the bytes that `ref` promises, from this store or else from the local path that it names.

        CheckpointUnseen if neither has it or the store can't be asked, CheckpointError if size or digest differ.
        """
        if "://" not in ref.path and os.path.isfile(ref.path):
            return CheckpointFolder(Path(ref.path).parent).read(ref)
        # By name, as the store may have another address here; a URL in the database is not followed.
        try:
            return verified(self._fetch(ref), ref)
        except FileNotFoundError:
            raise CheckpointUnseen(f"checkpoint {ref.path} is gone; it is not in {self} either") from None
        except OSError as error:
            raise CheckpointUnseen(f"checkpoint {ref.path} can't be read from {self}: {error}") from error

    def remove(self, paths: Iterable[str]) -> None:
        """Remove the files that pointers named so far; one that is gone already is no matter."""
        for path in paths:
            # A file that stays costs only space.
            with contextlib.suppress(OSError), _one_kind_of_error():
                self._store.rm_file(self._here(path))

    def keep_only(self, path: str) -> None:
        """Remove all but one file, whatever earlier attempts left behind. For a trial that is done."""
        with contextlib.suppress(OSError), _one_kind_of_error():
            found = {self._here(name) for name in self._store.ls(self._path, detail=False) if is_checkpoint(name)}
            self.remove(found - {self._here(path)})

    @retry(
        retry=retry_if_exception_type(OSError) & retry_if_not_exception_type(_ANSWERS),
        stop=stop_after_attempt(4),
        wait=wait_random_exponential(multiplier=1.0, max=5.0),
        reraise=True,
    )
    def _fetch(self, ref: CheckpointRef) -> bytes:
        with _one_kind_of_error():
            check_size(ref, int(self._store.size(self._here(ref.path))))
            return bytes(self._store.cat_file(self._here(ref.path)))

    def _here(self, path: str) -> str:
        return f"{self._path}/{PurePosixPath(path).name}"


@contextlib.contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Turn what the store's library raises into OSError: every library has a tree of its own."""
    try:
        yield
    except (OSError, CheckpointError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
