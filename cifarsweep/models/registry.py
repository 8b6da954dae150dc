"""From settings to a network: one entry for each family, told apart by `settings.name`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from cifarsweep.models import convnet
from cifarsweep.spec.settings import ConvNet


@dataclass(frozen=True, slots=True)
class Family:
    """What a family of networks must offer. `make` takes settings and the number of classes."""

    make: Callable[[ConvNet, int], convnet.ConvNet]
    smallest_batch: Callable[[ConvNet], int]


FAMILIES: Final = {"convnet": Family(convnet.ConvNet, convnet.smallest_batch)}


def build(settings: ConvNet, classes: int, generator: torch.Generator | None = None) -> torch.nn.Module:
    """Return a network that maps images (N, 3, 32, 32) to logits (N, classes), in channels-last layout, on the CPU.

    Every weight comes from `generator` (a CPU one), whatever the global generators hold; without one the weights are
    those of torch's own defaults.
    """
    model = FAMILIES[settings.name].make(settings, classes)
    if generator is not None:
        model.initialise(generator)
    return model.to(memory_format=torch.channels_last)


def smallest_batch(settings: ConvNet) -> int:
    """Return how many images a training batch must have at least."""
    return FAMILIES[settings.name].smallest_batch(settings)
