"""Small data sets, folders and archives for the tests of the data room."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarsweep.data.tensor_file import Contents

Files = dict[str, bytes]


def make_image(seed: int, size: tuple[int, int] = (32, 32), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def make_contents(
    train: int = 40, test: int = 10, classes: tuple[str, ...] = ("cat", "dog"), seed: int = 0
) -> Contents:
    draw = np.random.default_rng(seed)
    return Contents(
        classes=classes,
        source="made for a test",
        train_images=draw.integers(0, 256, (train, 32, 32, 3), dtype=np.uint8),
        train_labels=np.arange(train, dtype=np.int64) % len(classes),
        test_images=draw.integers(0, 256, (test, 32, 32, 3), dtype=np.uint8),
        test_labels=np.arange(test, dtype=np.int64) % len(classes),
    )


def pack_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pack_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def unpack_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def image() -> Callable[..., bytes]:
    return make_image


@pytest.fixture
def contents() -> Callable[..., Contents]:
    return make_contents


@pytest.fixture
def files() -> Files:
    """Two classes with two training images and one test image each."""
    names = [
        f"{split}/{kind}/{n}.png" for kind in ("cat", "dog") for split, n in (("train", 0), ("train", 1), ("test", 0))
    ]
    return {name: make_image(seed) for seed, name in enumerate(names)}


@pytest.fixture
def tar() -> Callable[..., Path]:
    return pack_tar


@pytest.fixture
def zipped() -> Callable[..., Path]:
    return pack_zip


@pytest.fixture
def folder() -> Callable[..., Path]:
    return unpack_folder


@pytest.fixture
def left_behind() -> Callable[[Path], list[str]]:
    """Names of all files below a folder that may not exist."""
    return lambda path: sorted(name for _, _, names in os.walk(path) for name in names)
