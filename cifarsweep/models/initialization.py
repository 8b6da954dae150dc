"""Draws the weights of a network by layer, from one generator, independently of the global generators."""

from __future__ import annotations

import math
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
def draw_as_torch(model: nn.Module, generator: torch.Generator) -> None:
    """Draw convolutions and linear layers as `reset_parameters` of torch does: uniformly, up to 1 / sqrt(inputs).

    Such weights keep a third of the variance that `draw_he` keeps with the gain of a linear layer.
    """
    for module in _layers(model):
        nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
        if module.bias is not None:
            limit = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.bias, -limit, limit, generator=generator)


@torch.no_grad()
def fill_with_zeros(model: nn.Module) -> None:
    """Set every weight and bias of convolutions and linear layers to 0; norms keep their scale of 1."""
    for module in _layers(model):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)


def _layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


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
