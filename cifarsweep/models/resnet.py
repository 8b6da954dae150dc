"""Residual nets.

ResNet-18 to -152 (He et al. 2016, arXiv 1512.03385) have the CIFAR stem: a 3x3 convolution of stride 1 and no max-pool.
ResNet-9 is the net of DAWNBench (D. Page, "How to train your ResNet", 2018), with a plain linear layer.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from cifarsweep.models.initialization import draw_residual_net
from cifarsweep.spec import settings as spec
from cifarsweep.spec.image_shape import ImageShape

STEM_WIDTH = 64


def _conv(before: int, width: int, size: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, width, size, stride=stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(width)]


class Block(nn.Module):
    """Convolutions added to their input, which passes a 1x1 convolution if its shape differs; then ReLU."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = width * self.expansion
        self.body = nn.Sequential(*self._layers(before, width, stride))
        same = before == after and stride == 1
        self.bridge = nn.Identity() if same else nn.Sequential(*_conv(before, after, 1, stride))
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def _layers(before: int, width: int, stride: int) -> list[nn.Module]:
        return [*_conv(before, width, 3, stride), nn.ReLU(inplace=True), *_conv(width, width, 3)]

    def forward(self, features: Tensor) -> Tensor:
        """(N, before, H, W) to (N, width * expansion, H / stride, W / stride)."""
        added: Tensor = self.relu(self.body(features) + self.bridge(features))
        return added


class Bottleneck(Block):
    """The block of the deeper nets: 1x1, 3x3, 1x1, with the stride in the middle, as in most later implementations."""

    expansion = 4

    @staticmethod
    def _layers(before: int, width: int, stride: int) -> list[nn.Module]:
        first = [*_conv(before, width, 1), nn.ReLU(inplace=True)]
        second = [*_conv(width, width, 3, stride), nn.ReLU(inplace=True)]
        return [*first, *second, *_conv(width, width * Bottleneck.expansion, 1)]


#: The kind of block and how many of them each stage has (table 1 of the paper).
BLOCKS: Final[dict[str, tuple[type[Block], tuple[int, int, int, int]]]] = {
    "resnet18": (Block, (2, 2, 2, 2)),
    "resnet34": (Block, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Stem, four stages of blocks (all but the first halve the image), a global mean and a linear layer."""

    def __init__(self, settings: spec.ResNet, classes: int, shape: ImageShape) -> None:
        super().__init__()
        block, counts = BLOCKS[settings.name]
        self.stem = nn.Sequential(*_conv(shape.channels, STEM_WIDTH, 3), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        before = STEM_WIDTH
        for stage, count in enumerate(counts):
            for index in range(count):
                width = STEM_WIDTH << stage
                blocks.append(block(before, width, stride=2 if stage and not index else 1))
                before = width * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, side, side) to logits (N, classes)."""
        # A mean, because the backward of adaptive pooling adds atomically on a GPU.
        logits: Tensor = self.head(self.blocks(self.stem(images)).mean((2, 3)))
        return logits

    def initialise(self, generator: torch.Generator) -> None:
        draw_residual_net(self, generator)


WIDTHS = (64, 128, 256, 512)


def _layer(before: int, width: int, *, pool: bool = False) -> nn.Sequential:
    return nn.Sequential(*_conv(before, width, 3), nn.ReLU(inplace=True), *[nn.MaxPool2d(2)] * pool)


class Residual(nn.Module):
    """Two convolutions whose output is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(width, width), _layer(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        added: Tensor = features + self.body(features)
        return added


class ResNet9(nn.Module):
    """Preparation; three convolutions with pooling, a residual after the first and the last; a global maximum."""

    def __init__(self, _: spec.ResNet9, classes: int, shape: ImageShape) -> None:
        super().__init__()
        prepared, low, middle, high = WIDTHS
        self.body = nn.Sequential(
            _layer(shape.channels, prepared),
            _layer(prepared, low, pool=True),
            Residual(low),
            _layer(low, middle, pool=True),
            _layer(middle, high, pool=True),
            Residual(high),
        )
        self.head = nn.Linear(high, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, side, side), of at least 8 pixels a side, to logits (N, classes)."""
        # The maximum by reduction: the backward of adaptive max-pooling adds atomically on a GPU.
        logits: Tensor = self.head(self.body(images).amax((2, 3)))
        return logits

    def initialise(self, generator: torch.Generator) -> None:
        draw_residual_net(self, generator)


def smallest_batch(settings: spec.ResNet | spec.ResNet9, shape: ImageShape) -> int:
    """Return how many images a training batch needs: batch norm has no variance over one image of one pixel.

    Both halve an image three times; pooling rounds down, and strides round up.
    """
    pixels_left = shape.side // 8 if isinstance(settings, spec.ResNet9) else -(-shape.side // 8)
    return 2 if pixels_left == 1 else 1
