"""Downloads CIFAR-10 and CIFAR-100 as torchvision does, and converts them.

The archives hold pickles, and a pickle can run code. So the archive's SHA-256 is checked before it is opened, and even
then the pickles may create nothing but arrays.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import pickle
import socket
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import download_url

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.tensor_file import Contents
from cifarsweep.errors import DataError
from cifarsweep.files import part
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.spec.validation import nearest

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Cifar:
    """An archive: its URL by torchvision, its digests, and the names of its files."""

    url: str
    filename: str
    md5: str
    sha256: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    label_key: str
    class_key: str


def _cifar(reference: type[CIFAR10], sha256: str, label_key: str) -> Cifar:
    return Cifar(
        url=reference.url,
        filename=reference.filename,
        md5=reference.tgz_md5,
        sha256=sha256,
        folder=reference.base_folder,
        train=tuple(name for name, _ in reference.train_list),
        test=tuple(name for name, _ in reference.test_list),
        meta=reference.meta["filename"],
        label_key=label_key,
        class_key=reference.meta["key"],
    )


CIFARS: Mapping[str, Cifar] = MappingProxyType(
    {
        "cifar10": _cifar(CIFAR10, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", "labels"),
        "cifar100": _cifar(CIFAR100, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", "fine_labels"),
    }
)


def downloads_folder(root: Path | None = None) -> Path:
    """Return the folder of the archives. One that is put there by hand is used like a download."""
    return (root or catalog.data_root()) / "downloads"


def download(name: str, root: Path | None = None) -> catalog.DataSetInfo:
    """Download and convert a CIFAR data set, unless it is installed.

    Raises DataError without a network, for an archive with another digest, and for a name that can't be downloaded.
    """
    if name not in CIFARS:
        raise DataError(_not_for_download(name))
    with contextlib.suppress(DataError):  # a damaged file is replaced
        return catalog.verify(name, root)
    cifar = CIFARS[name]
    archive = downloads_folder(root) / cifar.filename
    if not archive.exists():
        _fetch(cifar, archive)
    tensor_file.write(catalog.path_of(name, root), convert(archive, cifar))
    return catalog.require(name, root)


def convert(archive: Path, cifar: Cifar) -> Contents:
    """Return the images and labels of an archive. Raises DataError before unpacking it if its digest is wrong."""
    try:
        with archive.open("rb") as file:
            _check_digest(file, archive, cifar)
            file.seek(0)
            # These are the bytes that were checked: an open file can't be swapped.
            with tarfile.open(fileobj=file, mode="r:gz") as tar:
                return _contents(lambda name: _unpickled(tar, f"{cifar.folder}/{name}"), cifar)
    except OSError as error:
        raise DataError(f"can't read {archive}: {error.strerror or error}") from error


def _not_for_download(name: str) -> str:
    if name == catalog.EMBEDDED:
        return f"{name!r} needs no download: its first use makes it"
    return (
        f"{name!r} can't be downloaded.{nearest(name, CIFARS)} There are {' and '.join(CIFARS)}; "
        "for images of your own: cifarsweep data import NAME FOLDER_OR_ARCHIVE"
    )


def _fetch(cifar: Cifar, archive: Path) -> None:
    """Download into a temporary folder, so that `archive` appears only when it is complete."""
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with part(archive, folder=True) as folder, _timeout():
            download_url(cifar.url, str(folder), cifar.filename, cifar.md5)
            os.replace(folder / cifar.filename, archive)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DataError(
            f"can't download {cifar.url}: {error}; try again with a network, or get the file elsewhere "
            f"(SHA-256 {cifar.sha256}), put it into {archive.parent} and repeat the command"
        ) from error


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """Set a timeout. torchvision sets none: a silent server would hang the command."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _check_digest(file: io.BufferedReader, archive: Path, cifar: Cifar) -> None:
    actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != cifar.sha256:
        raise DataError(
            f"{archive} is not the archive it should be: its SHA-256 is {actual} instead of {cifar.sha256}; "
            "delete it and repeat the command"
        )


def _contents(read: Callable[[str], Any], cifar: Cifar) -> Contents:
    classes = tuple(read(cifar.meta)[cifar.class_key])
    train = _stacked([read(name) for name in cifar.train], cifar.label_key)
    test = _stacked([read(name) for name in cifar.test], cifar.label_key)
    return Contents(classes, cifar.url, *train, *test)


def _stacked(batches: list[Any], label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Join batches, which hold a row of 1,024 red, then green, then blue values for each image."""
    planes = np.concatenate([batch["data"] for batch in batches]).reshape(-1, CIFAR.channels, CIFAR.side, CIFAR.side)
    labels = np.concatenate([np.array(batch[label_key], dtype=np.int64) for batch in batches])
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _unpickled(tar: tarfile.TarFile, member: str) -> Any:
    file = tar.extractfile(member)
    if file is None:
        raise DataError(f"{member} is not a file in the archive; delete the archive and repeat the command")
    return ArraysOnly(file, encoding="latin1").load()


#: numpy's function, taken from an array because its module differs between versions.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArraysOnly(pickle.Unpickler):
    """Unpickles lists, dictionaries, texts, numbers and numpy arrays, and refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three functions that build an array. Raises DataError for any other."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise DataError(f"the archive asks for {module}.{name}, which no data set needs; it was not opened further")
