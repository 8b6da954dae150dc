"""Draws the weights of a network by layer, from one generator, independently of the global generators."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

#: Standard deviation of a transformer's weights (Dosovitskiy et al. 2021, as most implementations have it).
TRANSFORMER_STD = 0.02


@torch.no_grad()
def draw_he(
    layer: nn.Conv2d | nn.Linear,
    generator: torch.Generator,
    *,
    gain: Literal["linear", "relu"] = "relu",
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> None:
    """Draw normal weights that keep the variance; the bias becomes 0 (He et al. 2015, arXiv 1502.01852, eq. 10, 14)."""
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity=gain, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def draw_residual_net(model: nn.Module, generator: torch.Generator) -> None:
    """Draw convolutions by their outputs, as He et al. 2016 (arXiv 1512.03385) do, and linear layers by their inputs.

    Scales and shifts of batch norms keep their initial 1 and 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            draw_he(module, generator, mode="fan_out")
        elif isinstance(module, nn.Linear):
            draw_he(module, generator, gain="linear")


@torch.no_grad()
def draw_narrow(weights: Tensor, generator: torch.Generator) -> None:
    """Draw from a normal distribution of TRANSFORMER_STD, cut off at two standard deviations."""
    cut = 2 * TRANSFORMER_STD
    nn.init.trunc_normal_(weights, std=TRANSFORMER_STD, a=-cut, b=cut, generator=generator)
