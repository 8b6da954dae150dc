"""Augments and normalises whole batches: crop and flip by integer gather on uint8, then the other operations.

The values are those of torchvision's RandomCrop (zero padding) or RandomResizedCrop, RandomHorizontalFlip,
RandomVerticalFlip, RandAugment, ToTensor, Normalize, RandomErasing, MixUp and CutMix, in this order, given the same
offsets, flips, operations, boxes and shares. All randomness of an epoch is drawn before it begins, so any batch of any
epoch can be made without the ones before it.
Nothing here waits for a GPU, so a batch can be part of a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cifarsweep.data.dataset import Split
from cifarsweep.data.erasing import cutout_boxes, erase, erasing_boxes
from cifarsweep.data.mixing import Mix, mix, mix_plan
from cifarsweep.data.randaugment import Operations, augmented, operation_plan
from cifarsweep.data.resized_crop import resized, resized_crop_boxes
from cifarsweep.data.seeding import generator
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.spec.settings import Augment


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The augmentation of an epoch's images, in the order of training; all tensors int64 (N,)."""

    #: indices of the training images, each once
    order: Tensor
    #: where the crop begins in the padded and, where `flip` is 1, mirrored image: row * width + column
    offset: Tensor
    #: 1 where the image is mirrored left-right, else 0
    flip: Tensor
    #: pixels of zero padding on each side
    pad: int
    #: whether any image may be mirrored
    mirrors: bool
    #: boxes (N, 4) that are cropped and resized, in the place of padding
    resized: Tensor | None = None
    #: 1 where the image is mirrored top-bottom, else 0
    vflip: Tensor | None = None
    operations: Operations | None = None
    #: boxes (N, 4) that become zero, for each kind that is on
    boxes: tuple[Tensor, ...] = ()
    mix: Mix | None = None

    def to(self, device: torch.device | str) -> EpochPlan:
        return self._map(lambda tensor: tensor.to(device))

    def copy(self) -> EpochPlan:
        return self._map(Tensor.clone)

    def _map(self, change: Callable[[Tensor], Tensor]) -> EpochPlan:
        return replace(
            self,
            order=change(self.order),
            offset=change(self.offset),
            flip=change(self.flip),
            resized=None if self.resized is None else change(self.resized),
            vflip=None if self.vflip is None else change(self.vflip),
            operations=self.operations and self.operations.map(change),
            boxes=tuple(map(change, self.boxes)),
            mix=self.mix and self.mix.map(change),
        )

    def batch(self, start: int, stop: int) -> EpochPlan:
        """Return the plan of images `start` to `stop`, as views."""
        rows = slice(start, stop)
        return replace(
            self,
            order=self.order[rows],
            offset=self.offset[rows],
            flip=self.flip[rows],
            resized=None if self.resized is None else self.resized[rows],
            vflip=None if self.vflip is None else self.vflip[rows],
            operations=self.operations and self.operations.batch(rows),
            boxes=tuple(boxes[rows] for boxes in self.boxes),
            mix=self.mix and self.mix.batch(start),
        )

    def part(self, first: int, last: int) -> EpochPlan:
        """Return, of the plan of one batch, that of its images `first` to before `last`, for one of several devices.

        Where images are mixed, one more comes first: the image before them, which goes into the first of them.
        """
        rows = torch.arange(first - (self.mix is not None), last, device=self.order.device) % len(self.order)
        operations = self.operations and replace(self.operations, variants=self.operations.variants[:, rows])
        return replace(
            replace(self, operations=None, mix=None)._map(lambda tensor: tensor[rows]),
            operations=operations,
            mix=self.mix,
        )

    def drawn(self) -> tuple[Tensor, ...]:
        """Return the tensors that are drawn for an epoch; the rest is the same in all plans of a recipe."""
        operations = () if self.operations is None else (self.operations.variants,)
        mixes = () if self.mix is None else (self.mix.share, self.mix.box, self.mix.cut)
        optional = tuple(each for each in (self.resized, self.vflip) if each is not None)
        return (self.order, self.offset, self.flip, *optional, *operations, *self.boxes, *mixes)


def epoch_plan(n: int, seed: int, epoch: int, augment: Augment, classes: int = 0, side: int = CIFAR.side) -> EpochPlan:
    """Draw the plan of one epoch over `n` images of `classes` (only mixing uses it) and `side`, on the CPU.

    Each kind of randomness has its own generator, so that switching one off leaves the others as they are.
    """
    order = torch.randperm(n, generator=generator(seed, "order", epoch))
    top, left = torch.randint(0, 2 * augment.crop + 1, (2, n), generator=generator(seed, "crop", epoch))
    flip = torch.randint(0, 2, (n,), generator=generator(seed, "flip", epoch)) * int(augment.flip)
    return replace(
        plan_of(order, top, left, flip, augment.crop, augment.flip, side),
        resized=resized_crop_boxes(n, seed, epoch, augment.resized_crop, side),
        vflip=torch.randint(0, 2, (n,), generator=generator(seed, "vflip", epoch)) if augment.vflip else None,
        operations=operation_plan(n, seed, epoch, augment.randaugment, augment.randaugment_magnitude, side),
        boxes=tuple(_boxes(n, seed, epoch, augment, side)),
        mix=mix_plan(n, seed, epoch, augment, classes, side),
    )


def _boxes(n: int, seed: int, epoch: int, augment: Augment, side: int) -> Iterator[Tensor]:
    if augment.cutout:
        yield cutout_boxes(n, seed, epoch, augment.cutout, side)
    if augment.erasing:
        yield erasing_boxes(n, seed, epoch, augment.erasing, side)


def plan_of(
    order: Tensor, top: Tensor, left: Tensor, flip: Tensor, pad: int, mirrors: bool, side: int = CIFAR.side
) -> EpochPlan:
    """Return a plan of crops at `top`, `left` (0..2*pad) of the padded images and flips (0 or 1), all int64 (N,)."""
    # A crop that is then mirrored is the mirrored image cropped at the mirrored column.
    column = torch.where(flip == 1, 2 * pad - left, left)
    return EpochPlan(order, top * (side + 2 * pad) + column, flip, pad, mirrors)


def train_batch(split: Split, plan: EpochPlan, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return images and labels `start` to `stop` of the epoch: float32 (B, C, H, W) channels_last, int64 (B,).

    Labels of a plan that mixes are probabilities, float32 (B, classes). `split` and `plan` are on one device.
    """
    return planned_batch(split, plan.batch(start, stop))


def planned_batch(split: Split, plan: EpochPlan) -> tuple[Tensor, Tensor]:
    """Return images and labels of a plan of one batch, as `train_batch` does."""
    pixels = split.train_images.permute(0, 2, 3, 1).index_select(0, plan.order)
    if plan.resized is not None:
        pixels = resized(pixels, plan.resized)
    if plan.pad or plan.mirrors:
        pixels = _cropped(pixels, plan.offset, plan.flip, plan.pad, plan.mirrors)
    if plan.vflip is not None:
        pixels = torch.where(plan.vflip.view(-1, 1, 1, 1) == 1, pixels.flip(1), pixels)
    if plan.operations is not None:
        pixels = augmented(pixels, plan.operations)
    images, labels = _normalised(pixels, split), split.train_labels.index_select(0, plan.order)
    for boxes in plan.boxes:
        erase(images, boxes)
    return images, labels if plan.mix is None else mix(images, labels, plan.mix)


def eval_batches(
    split: Split, size: int, part: tuple[Tensor, Tensor] | None = None, first: int = 0, every: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images in order, normalised: float32 (B, channels, side, side) channels_last, int64 (B,).

    They are those of `part`, images and labels on the split's device, or the validation part; of its batches the one
    numbered `first`, and each `every` batches later.
    """
    images, labels = part or (split.val_images, split.val_labels)
    pixels = images.permute(0, 2, 3, 1)
    for start in range(first * size, len(pixels), every * size):
        rows = slice(start, start + size)
        yield _normalised(pixels[rows], split), labels[rows]


def _cropped(pixels: Tensor, offset: Tensor, flip: Tensor, pad: int, mirrors: bool) -> Tensor:
    """Return crops uint8 (B, side, side, channels), a strided view, of the padded images or their mirror images.

    Rows lie one behind the other, so a crop with the margin to its right is one run of bytes. It is gathered whole, and
    a view leaves out the margin.
    """
    count, side, _, channels = pixels.shape
    width = side + 2 * pad
    sides = 2 if mirrors else 1
    used = sides * count * width * width
    # The last run ends 2 * pad pixels behind the last image.
    canvas = pixels.new_zeros((used + 2 * pad) * channels)
    padded = canvas[: used * channels].view(sides, count, width, width, channels)
    inner = padded[:, :, pad : pad + side, pad : pad + side]
    inner[0].copy_(pixels)
    if mirrors:
        inner[1].copy_(pixels.flip(2))
    runs = canvas.as_strided(
        (sides * count, 2 * pad * width + 2 * pad + 1, side * width * channels),
        (width * width * channels, channels, 1),
    )
    image = flip * count + torch.arange(count, device=pixels.device)
    return runs[image, offset].view(count, side, width, channels)[:, :, :side]


def _normalised(pixels: Tensor, split: Split) -> Tensor:
    """`(pixels / 255 - mean) / std` of uint8 (B, H, W, C), as float32 (B, C, H, W) channels_last."""
    images = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device)
    images.copy_(pixels)
    scale, shift = split.row_scale_shift
    images.view(-1, len(scale)).mul_(scale).add_(shift)
    return images.permute(0, 3, 1, 2)
