"""The vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) with either of two stems."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarsweep.models.initialization import draw_he, draw_narrow
from cifarsweep.spec import settings as spec
from cifarsweep.spec.image_shape import ImageShape

_NARROWEST = 8


def _stem(settings: spec.ViT, channels: int) -> nn.Module:
    """Images (N, channels, side, side) to (N, width, side / patch_size, side / patch_size)."""
    if settings.stem == "patch":
        return nn.Conv2d(channels, settings.width, settings.patch_size, stride=settings.patch_size)
    # Xiao et al. 2021 (arXiv 2106.14881): 3x3 convolutions of stride 2 and doubling width, then a 1x1 convolution.
    halvings = settings.patch_size.bit_length() - 1
    layers: list[nn.Module] = []
    before = channels
    for left in range(halvings, 0, -1):
        width = max(settings.width >> left, _NARROWEST)
        conv = nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, settings.width, 1))


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017) of some tokens to all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Query tokens (N, Q, width) and all tokens (N, T, width) to (N, Q, width)."""
        # Split before the heads move outwards: the gradients of keys and values then meet without another copy.
        key, value = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).unbind(2)
        query = self.query(queries).unflatten(2, (self.heads, -1))
        mixed = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (query, key, value)))
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm and added to its input."""

    def __init__(self, settings: spec.ViT) -> None:
        super().__init__()
        width, hidden = settings.width, max(1, round(settings.width * settings.mlp_ratio))
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, settings.heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(settings.dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, tokens: Tensor, *, first_only: bool = False) -> Tensor:
        """(N, T, width) to the same shape, or to (N, 1, width) if `first_only`."""
        queries = seen = self.norm1(tokens)
        if first_only:
            queries, tokens = seen[:, :1], tokens[:, :1]
        tokens = tokens + self.dropout(self.attention(queries, seen))
        after: Tensor = tokens + self.dropout(self.mlp(self.norm2(tokens)))
        return after


class ViT(nn.Module):
    """Patches as tokens behind a class token, learned positions, blocks, and a linear layer on the class token."""

    def __init__(self, settings: spec.ViT, classes: int, shape: ImageShape) -> None:
        super().__init__()
        self.stem = _stem(settings, shape.channels)
        patches = (shape.side // settings.patch_size) ** 2
        self.class_token = nn.Parameter(torch.zeros(1, 1, settings.width))
        self.positions = nn.Parameter(torch.empty(1, patches + 1, settings.width).normal_(std=0.02))
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Linear(settings.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, side, side) to logits (N, classes)."""
        patches = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(len(patches), -1, -1), patches), 1)
        tokens = self.dropout(tokens + self.positions)
        *inner, last = self.blocks
        for block in inner:
            tokens = block(tokens)
        # The last block's output for the patches is not used.
        logits: Tensor = self.head(self.norm(last(tokens, first_only=True)[:, 0]))
        return logits

    def initialise(self, generator: torch.Generator) -> None:
        """Draw every weight anew from `generator` alone: the stem as convolutions, the rest narrowly, biases as 0.

        Norms keep their initial scales of 1 and shifts of 0.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                followed_by_relu = module.bias is None
                draw_he(module, generator, gain="relu" if followed_by_relu else "linear")
            elif isinstance(module, nn.Linear):
                draw_narrow(module.weight, generator)
                nn.init.zeros_(module.bias)
        draw_narrow(self.class_token, generator)
        draw_narrow(self.positions, generator)


def smallest_batch(settings: spec.ViT, shape: ImageShape) -> int:
    """Return how many images a training batch needs: batch norm has no variance over one image of one pixel."""
    return 2 if settings.stem == "conv" and settings.patch_size == shape.side else 1
