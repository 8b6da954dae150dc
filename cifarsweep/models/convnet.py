"""The plain convolutional network: stages of conv-norm-relu, with every option that a study may vary."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from cifarsweep.models.initialization import draw_he
from cifarsweep.spec import settings as spec
from cifarsweep.spec.image_shape import ImageShape


def _norm(settings: spec.ConvNet, channels: int) -> nn.Module:
    affine = settings.norm_affine
    match settings.norm:
        case "batch":
            return nn.BatchNorm2d(channels, affine=affine)
        case "layer":  # over channels and pixels of one image, with a scale and a shift for each channel
            return nn.GroupNorm(1, channels, affine=affine)
        case "group":
            size = settings.norm_group_size
            return nn.GroupNorm(channels // size if size else settings.norm_groups, channels, affine=affine)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=affine)
        case "none":
            return nn.Identity()


class Stage(nn.Module):
    """Convolutions of one width, each followed by norm and ReLU, with an optional bridge from input to output."""

    def __init__(self, settings: spec.ConvNet, before: int, width: int, convs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convs):
            layers += [
                nn.Conv2d(
                    width if index else before,
                    width,
                    settings.kernel_size,
                    padding=settings.kernel_size // 2,
                    bias=settings.norm == "none" and settings.conv_bias,  # any norm would remove the bias
                ),
                _norm(settings, width),
                nn.ReLU(inplace=True),
            ]
        self.body = nn.Sequential(*layers)
        self.bridge: nn.Module | None = None
        if settings.skip:
            self.bridge = nn.Identity() if before == width else _bridge(settings, before, width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, before, H, W) to (N, width, H, W)."""
        features: Tensor = self.body(images)
        return features if self.bridge is None else features + self.bridge(images)


def _bridge(settings: spec.ConvNet, before: int, width: int) -> nn.Module:
    size = settings.bridge_size
    return nn.Conv2d(before, width, size, padding=size // 2, bias=size > 1)


def _stage(settings: spec.ConvNet, before: int, width: int) -> nn.Module:
    """A stage or, with a skip over every few of its convolutions, several in a row without a pool between them."""
    convs = settings.convs_per_stage
    if not settings.skip or settings.skip_every in (0, convs):
        return Stage(settings, before, width, convs)
    befores = (before, *[width] * (convs // settings.skip_every - 1))
    return nn.Sequential(*[Stage(settings, channels, width, settings.skip_every) for channels in befores])


class ConvNet(nn.Module):
    """Stages with a 2x2 max-pool between them, a global mean, dropout and a linear layer."""

    def __init__(self, settings: spec.ConvNet, classes: int, shape: ImageShape) -> None:
        super().__init__()
        self.stem: nn.Module | None = None
        if settings.stem_width:
            self.stem = nn.Conv2d(shape.channels, settings.stem_width, 3, padding=1)
        befores = (settings.stem_width or shape.channels, *settings.widths)
        self.stages = nn.ModuleList(
            _stage(settings, before, width) for before, width in zip(befores, settings.widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, side, side) to logits (N, classes)."""
        features = images if self.stem is None else self.stem(images)
        for index, stage in enumerate(self.stages):
            features = stage(self.pool(features) if index else features)
        # A mean, because the backward of adaptive pooling adds atomically on a GPU: its last bits would vary.
        logits: Tensor = self.head(self.dropout(features.mean((2, 3))))
        return logits

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw every weight anew from `generator` alone; biases become 0 (He et al. 2015, arXiv 1502.01852, eq. 10)."""
        bridges = [module.bridge for module in self.modules() if isinstance(module, Stage)]
        linear = {self.head, self.stem, *bridges}  # no ReLU follows these
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                gain: Literal["linear", "relu"] = "linear" if module in linear else "relu"
                draw_he(module, generator, gain=gain)


def smallest_batch(settings: spec.ConvNet, shape: ImageShape) -> int:
    """Return how many images a training batch needs: batch norm has no variance over one image of one pixel."""
    pixels_left = shape.side >> (len(settings.widths) - 1)
    return 2 if settings.norm == "batch" and pixels_left == 1 else 1
