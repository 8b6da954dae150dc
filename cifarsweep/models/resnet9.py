"""The nine-layer residual net of DAWNBench (D. Page, "How to train your ResNet", 2018), with a plain linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarsweep.models.convnet import IMAGE_CHANNELS
from cifarsweep.models.initialization import draw_residual_net
from cifarsweep.spec import settings as spec

WIDTHS = (64, 128, 256, 512)


def _conv(before: int, width: int, *, pool: bool = False) -> nn.Sequential:
    layers = [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *[nn.MaxPool2d(2)] * pool)


class Residual(nn.Module):
    """Two convolutions whose output is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        added: Tensor = features + self.body(features)
        return added


class ResNet9(nn.Module):
    """Preparation; three convolutions with pooling, a residual after the first and the last; a global maximum."""

    def __init__(self, _: spec.ResNet9, classes: int) -> None:
        super().__init__()
        prepared, low, middle, high = WIDTHS
        self.body = nn.Sequential(
            _conv(IMAGE_CHANNELS, prepared),
            _conv(prepared, low, pool=True),
            Residual(low),
            _conv(low, middle, pool=True),
            _conv(middle, high, pool=True),
            Residual(high),
        )
        self.head = nn.Linear(high, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), H and W multiples of 8, to logits (N, classes)."""
        # The maximum by reduction: the backward of adaptive max-pooling adds atomically on a GPU.
        logits: Tensor = self.head(self.body(images).amax((2, 3)))
        return logits

    def initialise(self, generator: torch.Generator) -> None:
        """Draw every weight anew from `generator` alone."""
        draw_residual_net(self, generator)
