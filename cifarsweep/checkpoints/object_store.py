"""Checkpoints in an object store, or any other file system that fsspec reaches. Imports no torch."""

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

from cifarsweep.checkpoints.folder import CheckpointFolder, check_payload, check_size, is_checkpoint, make_ref, new_name
from cifarsweep.errors import CheckpointError, CheckpointNotFound
from cifarsweep.spec.types import CheckpointRef

#: Protocols without folders: creating one would create a bucket.
_FLAT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "obs"})
_DEFINITE = (FileNotFoundError, PermissionError)


class ObjectFolder:
    """A `Folder` below a URL, with a new key for each file: an object store puts a key whole or not at all.

    Other file systems may keep half a file, to which no reference points. Reading is tried four times, over a few
    seconds.
    """

    def __init__(self, store: AbstractFileSystem, path: str, url: str) -> None:
        self._store, self._path, self._url = store, path, url
        self._flat = url.partition("://")[0] in _FLAT

    def __str__(self) -> str:
        return self._url

    def write(self, step: int, payload: bytes | memoryview) -> CheckpointRef:
        name = new_name(step)
        with _as_oserror():
            if not self._flat:
                self._store.makedirs(self._path, exist_ok=True)
            self._store.pipe_file(f"{self._path}/{name}", bytes(payload))
            size = self._store.size(f"{self._path}/{name}")
        if size != len(payload):
            self.remove([name])
            raise OSError(f"{name} arrived with {size} bytes instead of {len(payload)}")
        return make_ref(step, f"{self._url}/{name}", payload)

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the contents of a checkpoint, from this store or, if `ref` has a local path, from there.

        CheckpointNotFound also if the store can't be reached.
        """
        if "://" not in ref.path and os.path.isfile(ref.path):
            return CheckpointFolder(Path(ref.path).parent).read(ref)
        # By name: the store may have another address here, and a URL in the database is not followed.
        try:
            return check_payload(self._fetch(ref), ref)
        except FileNotFoundError:
            raise CheckpointNotFound(f"checkpoint {ref.path} is gone; it is not in {self} either") from None
        except OSError as error:
            raise CheckpointNotFound(f"checkpoint {ref.path} can't be read from {self}: {error}") from error

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            # A file that stays costs only space.
            with contextlib.suppress(OSError), _as_oserror():
                self._store.rm_file(self._here(path))

    def keep_only(self, path: str) -> None:
        with contextlib.suppress(OSError), _as_oserror():
            found = {self._here(name) for name in self._store.ls(self._path, detail=False) if is_checkpoint(name)}
            self.remove(found - {self._here(path)})

    @retry(
        retry=retry_if_exception_type(OSError) & retry_if_not_exception_type(_DEFINITE),
        stop=stop_after_attempt(4),
        wait=wait_random_exponential(multiplier=1.0, max=5.0),
        reraise=True,
    )
    def _fetch(self, ref: CheckpointRef) -> bytes:
        with _as_oserror():
            check_size(ref, int(self._store.size(self._here(ref.path))))
            return bytes(self._store.cat_file(self._here(ref.path)))

    def _here(self, path: str) -> str:
        return f"{self._path}/{PurePosixPath(path).name}"


@contextlib.contextmanager
def _as_oserror() -> Iterator[None]:
    """Turn the errors of the store's library into OSError: every library has its own."""
    try:
        yield
    except (OSError, CheckpointError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
