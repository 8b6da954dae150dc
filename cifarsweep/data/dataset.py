"""A data set as tensors, and its parts for one training run.

Images have the shape (N, channels, side, side) and lie as (N, side, side, channels) in memory (`torch.channels_last`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.seeding import generator
from cifarsweep.data.tensor_file import MappedFile, Stamp
from cifarsweep.errors import DataError
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.settings import Validation

#: Rows of pixels whose sums and sums of squares are exact in float32: 256 * 255**2 < 2**24.
_EXACT = 256


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, channels, side, side), labels int64 (N,). All processes of a machine share their memory."""

    name: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    sha256: str
    file: MappedFile


@dataclass(frozen=True, eq=False)
class Split:
    """The images that a run trains, validates and, where the validation images are no test images, tests on.

    All tensors are on one device.
    `mean` and `std` (channels,) are float32 statistics of the training part's pixels in 0..1, over each channel's.
    `sha256` identifies the data set's contents and the part that is held out; without it `digest` reads every image.
    """

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor
    mean: Tensor
    std: Tensor
    sha256: str | None = None
    test_images: Tensor | None = None
    test_labels: Tensor | None = None

    def to(self, device: torch.device | str) -> Split:
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    @property
    def shape(self) -> ImageShape:
        """The shape of all its images."""
        return ImageShape(self.train_images.shape[2], self.train_images.shape[1])

    @cached_property
    def largest_class(self) -> int:
        """How many of the validation images belong to the class that has most of them."""
        return int(torch.bincount(self.val_labels).max())

    @cached_property
    def digest(self) -> str:
        """The digest of images, labels, held-out part and statistics."""
        found = hashlib.sha256((self.sha256 or "").encode())
        images = (self.train_images, self.train_labels, self.val_images, self.val_labels)
        for tensor in (*(images if self.sha256 is None else ()), self.mean, self.std):
            found.update(f"{tuple(tensor.shape)} {tensor.dtype}\n".encode())
            found.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return found.hexdigest()

    @cached_property
    def row_scale_shift(self) -> tuple[Tensor, Tensor]:
        """Factors and summands, each (side * channels,), that normalise a row of pixels of 0..255."""
        mean, std = self.mean.double(), self.std.double()
        scale, shift = 1 / (255 * std), -mean / std
        return scale.float().repeat(self.shape.side), shift.float().repeat(self.shape.side)


def load(name: str, root: Path | None = None, trusted: Stamp | None = None) -> Dataset:
    """Map an installed data set. Raises DataError that says how to install it, or that it is damaged.

    Every byte is verified, unless the file has the stamp `trusted`, at which another process has verified it.
    """
    path = catalog.require(name, root).path
    file = tensor_file.MappedFile(path)
    file.check(trusted)
    header, buffer, shape = file.header, file.buffer, file.header.shape
    arrays: dict[str, Tensor] = {}
    start = header.start
    for part, count in (("train", header.train), ("test", header.test)):
        size = count * shape.bytes
        images = torch.frombuffer(buffer, dtype=torch.uint8, count=size, offset=start)
        labels = torch.frombuffer(buffer, dtype=torch.int64, count=count, offset=start + size)
        # A label out of range would become an error of the device, far from here.
        if labels.min() < 0 or labels.max() >= len(header.classes):
            raise DataError(f"{path} is damaged: a label names no class; delete it, then download or import it again")
        arrays[f"{part}_images"] = images.view(-1, shape.side, shape.side, shape.channels).permute(0, 3, 1, 2)
        arrays[f"{part}_labels"] = labels
        start += size + count * labels.itemsize
    return Dataset(name=name, classes=header.classes, sha256=header.sha256, file=file, **arrays)


@lru_cache(maxsize=2)  # a worker asks for the same split trial after trial
def split(dataset: Dataset, validation: Validation) -> Split:
    """Return the training part and the part that accuracy is measured on.

    `holdout` takes `round(fraction * N)` training images, from every class its share, chosen by `validation.seed`, and
    keeps the test images apart. Raises DataError if nothing would be held out.
    """
    images, labels = dataset.train_images, dataset.train_labels
    if validation.split == "test":
        held_out = torch.zeros(0, dtype=torch.bool)
        test = dataset.test_images, dataset.test_labels
        return Split(images, labels, *test, *_statistics(images), _split_sha256(dataset, held_out))
    held_out = _held_out(labels, len(dataset.classes), validation, dataset.name)
    train_images, val_images = _picked(images, ~held_out), _picked(images, held_out)
    parts = train_images, labels[~held_out], val_images, labels[held_out]
    sha256 = _split_sha256(dataset, held_out)
    return Split(*parts, *_statistics(train_images), sha256, dataset.test_images, dataset.test_labels)


def _split_sha256(dataset: Dataset, held_out: Tensor) -> str:
    """Digest the images themselves, not seed and fraction: another torch may draw others from the same seed."""
    return hashlib.sha256(dataset.sha256.encode() + held_out.numpy().tobytes()).hexdigest()


def _held_out(labels: Tensor, classes: int, validation: Validation, name: str) -> Tensor:
    """Return which images are held out, bool (N,)."""
    counts = torch.bincount(labels, minlength=classes).tolist()
    shares = _shares(counts, validation.fraction)
    if sum(shares) == 0:
        raise DataError(
            f"data set {name!r} is too small for validation.fraction = {validation.fraction}: nothing would be held "
            "out; choose a larger fraction, or validation.split = 'test'"
        )
    draw = generator(validation.seed, "validation", 0)
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label, share in enumerate(shares):
        members = torch.nonzero(labels == label).flatten()
        mask[members[torch.randperm(len(members), generator=draw)[:share]]] = True
    return mask


def _shares(counts: list[int], fraction: float) -> list[int]:
    """Return how many of each class are held out, by largest remainders, `round(fraction * total)` in all.

    Every class keeps at least one image for training, so there may be fewer.
    """
    quotas = [count * fraction for count in counts]
    shares = [int(min(quota, max(count - 1, 0))) for quota, count in zip(quotas, counts, strict=True)]
    left = max(round(sum(counts) * fraction) - sum(shares), 0)
    growing = [label for label, count in enumerate(counts) if shares[label] + 1 < count]
    for label in sorted(growing, key=lambda label: shares[label] - quotas[label])[:left]:
        shares[label] += 1
    return shares


def _picked(images: Tensor, mask: Tensor) -> Tensor:
    """Return the images (N, channels, side, side) where the mask is set, channels_last."""
    return images.permute(0, 2, 3, 1)[mask].permute(0, 3, 1, 2)


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (channels,) of the pixels in 0..1: the same bits for any number of threads.

    The deviation is at least 1/255, so that dividing by it is harmless.
    """
    channels, side = images.shape[1:3]
    rows = images.permute(0, 2, 3, 1).reshape(-1, side * channels)
    sums, squares = torch.zeros(2, side * channels, dtype=torch.float64)
    for start in range(0, len(rows), _EXACT):
        values = rows[start : start + _EXACT].float()
        sums += values.sum(0)
        squares += values.square_().sum(0)
    count = rows.shape[0] * side
    mean = sums.view(side, channels).sum(0) / count
    variance = squares.view(side, channels).sum(0) / count - mean.square()
    std = variance.clamp(min=0).sqrt().clamp(min=1)
    return (mean / 255).float(), (std / 255).float()
