"""Random crops of any size and shape, resized to the size of the image (Szegedy et al. 2015).

They are drawn for an epoch and applied to a batch.

Boxes are drawn as torchvision's RandomResizedCrop draws them. A crop is never larger than the image, so resizing never
shrinks, and antialiasing would change nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cifarsweep.data.seeding import generator
from cifarsweep.spec.image_shape import CIFAR

#: Width over height of a crop.
_SHAPES = (3 / 4, 4 / 3)
#: Boxes that are tried for an image before it is taken whole.
_TRIES = 10


def resized_crop_boxes(n: int, seed: int, epoch: int, smallest: float, side: int = CIFAR.side) -> Tensor | None:
    """Draw top, left, height and width, int64 (N, 4), of at least the part `smallest` of the area; None for 0."""
    if not smallest:
        return None
    draw = generator(seed, "resized crop", epoch)
    area, shape, top, left = torch.rand(4, _TRIES, n, generator=draw, dtype=torch.float64)
    low, high = map(math.log, _SHAPES)
    area, shape = side * side * (smallest + (1 - smallest) * area), (low + (high - low) * shape).exp()
    height, width = (area / shape).sqrt().round(), (area * shape).sqrt().round()
    fits = (height >= 1) & (height <= side) & (width >= 1) & (width <= side)
    boxes = torch.stack([(top * (side - height + 1)).floor(), (left * (side - width + 1)).floor(), height, width], -1)
    first = boxes[fits.int().argmax(0), torch.arange(n)]
    whole = torch.tensor([0, 0, side, side], dtype=torch.float64)
    return torch.where(fits.any(0).unsqueeze(1), first, whole).long()


def resized(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Return the crops of uint8 (B, side, side, C) as uint8 of that shape, bilinear, without a wait for the device."""
    side = pixels.shape[1]
    top, left, height, width = boxes.unbind(1)
    image = torch.arange(len(pixels), device=pixels.device).unsqueeze(1)
    upper, lower, below = _neighbours(top, height, side)
    part = below.view(-1, side, 1, 1)
    rows = pixels[image, upper].float() * (1 - part) + pixels[image, lower].float() * part
    columns = rows.transpose(1, 2)
    before, after, right = _neighbours(left, width, side)
    part = right.view(-1, side, 1, 1)
    found = columns[image, before] * (1 - part) + columns[image, after] * part
    return found.transpose(1, 2).round_().to(torch.uint8)


def _neighbours(start: Tensor, length: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source lines of each new line, int64 (B, side), and the part of the second, float32 (B, side)."""
    centres = torch.arange(side, device=start.device) + 0.5
    length = length.unsqueeze(1)
    source = (centres * (length / side) - 0.5).clamp_(min=0)
    first = source.long()
    second = torch.minimum(first + 1, length - 1)
    return start.unsqueeze(1) + first, start.unsqueeze(1) + second, source - first
