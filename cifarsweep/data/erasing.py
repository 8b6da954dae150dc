"""Cutout and random erasing: rectangles of zeros in normalised images, drawn for an epoch, applied to a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cifarsweep.data.seeding import generator
from cifarsweep.spec.image_shape import CIFAR

#: torchvision's RandomErasing: range of the erased part, range of its aspect ratio, and number of tries to fit it in.
_PART, _ASPECT, _TRIES = (0.02, 0.33), (0.3, 3.3), 10


def cutout_boxes(n: int, seed: int, epoch: int, size: int, side: int = CIFAR.side) -> Tensor:
    """Draw squares around a uniform pixel of images of `side`, cut off (DeVries & Taylor 2017): int64 (N, 4).

    A box is top, left, bottom, right; the last two are exclusive.
    """
    centre = torch.randint(0, side, (n, 2), generator=generator(seed, "cutout", epoch))
    first = centre - size // 2
    return torch.cat([first, first + size], 1).clamp_(0, side)


def erasing_boxes(n: int, seed: int, epoch: int, probability: float, side: int = CIFAR.side) -> Tensor:
    """Draw the boxes of torchvision's RandomErasing, int64 (N, 4); empty ones if nothing is erased."""
    draw = generator(seed, "erasing", epoch)
    chosen = torch.rand(n, generator=draw) < probability
    part = torch.empty(n, _TRIES).uniform_(*_PART, generator=draw)
    aspect = torch.empty(n, _TRIES).uniform_(*map(math.log, _ASPECT), generator=draw).exp()
    size = erased_size(part, aspect, side) * chosen[:, None]
    # A position in 0..free, both ends included, for any `free`: float64 keeps each as likely as the others.
    position = torch.rand(n, 2, generator=draw, dtype=torch.float64)
    first = (position * (side - size + 1)).long()
    return torch.cat([first, first + size], 1)


def erased_size(part: Tensor, aspect: Tensor, side: int = CIFAR.side) -> Tensor:
    """Return height and width, int64 (N, 2), of the first try of (N, T) smaller than the image; 0 if none is."""
    area = side * side * part.double()
    sizes = torch.stack([(area * aspect).sqrt().round(), (area / aspect).sqrt().round()], 2).long()
    fits = (sizes < side).all(2)
    first = fits.int().argmax(1)
    return sizes[torch.arange(len(sizes)), first] * fits.any(1, keepdim=True)


def erase(images: Tensor, boxes: Tensor) -> None:
    """Set the pixels in the boxes (B, 4) of images (B, channels, side, side) to zero, in place."""
    images.masked_fill_(inside(boxes, images.shape[-1]).unsqueeze(1), 0.0)


def inside(boxes: Tensor, side: int = CIFAR.side) -> Tensor:
    """Return whether each pixel lies in its image's box (B, 4): bool (B, side, side)."""
    line = torch.arange(side, device=boxes.device)
    top, left, bottom, right = boxes.unsqueeze(2).unbind(1)
    rows, columns = (line >= top) & (line < bottom), (line >= left) & (line < right)
    return rows.unsqueeze(2) & columns.unsqueeze(1)
