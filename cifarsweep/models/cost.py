"""What a network costs: its parameters and the arithmetic of one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from cifarsweep.models.convnet import IMAGE_CHANNELS, IMAGE_SIZE
from cifarsweep.models.registry import build
from cifarsweep.spec.settings import Model, Timm


@dataclass(frozen=True, slots=True)
class Cost:
    """`flops_per_image` is of the forward pass; a multiply-add counts as two, norms and activations as nothing."""

    params: int
    flops_per_image: int

    def training_flops(self, images: int) -> int:
        """Of training steps on so many images: the backward pass takes twice the forward one's.

        (Section 2.1 of https://arxiv.org/abs/2001.08361; exact, since it counts arithmetic and not time.)
        """
        return 3 * self.flops_per_image * images


@lru_cache(maxsize=64)  # counting takes longer than many a step, and trials of a study share their networks
def cost(settings: Model, classes: int) -> Cost:
    """Count on the meta device, where nothing is computed or allocated and no weights are fetched."""
    if isinstance(settings, Timm):
        settings = settings.model_copy(update={"pretrained": False})
    with torch.device("meta"):
        # A learned input of a layer, as attention pools have, has no gradient function, which the counter asks for.
        model = build(settings, classes).eval().requires_grad_(False)
        image = torch.empty(1, IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops())
