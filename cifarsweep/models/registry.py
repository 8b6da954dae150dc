"""From settings to a network, told apart by the type of the settings."""

from __future__ import annotations

from functools import lru_cache

import torch

from cifarsweep.models import convnet, resnet, resnet9, timm_models, vit
from cifarsweep.spec.settings import ConvNet, Model, ResNet, ResNet9, Timm, ViT

_Own = convnet.ConvNet | resnet9.ResNet9 | resnet.ResNet | vit.ViT


def build(settings: Model, classes: int, generator: torch.Generator | None = None) -> torch.nn.Module:
    """Return a network that maps images (N, 3, 32, 32) to logits (N, classes), in channels-last layout, on the CPU.

    Every weight comes from `generator` (a CPU one), whatever the global generators hold, but for pretrained ones;
    without a generator the weights are those of torch's own defaults. Raises SpecError and DataError for a model of
    timm that can't be had.
    """
    if isinstance(settings, Timm):
        model = timm_models.build(settings, classes, generator)
    else:
        model = own = _own(settings, classes)
        if generator is not None:
            own.initialise(generator)
    return model.to(memory_format=torch.channels_last)


def _own(settings: ConvNet | ResNet9 | ResNet | ViT, classes: int) -> _Own:
    match settings:
        case ConvNet():
            return convnet.ConvNet(settings, classes)
        case ResNet9():
            return resnet9.ResNet9(settings, classes)
        case ResNet():
            return resnet.ResNet(settings, classes)
        case ViT():
            return vit.ViT(settings, classes)


@lru_cache(maxsize=64)  # a study trains few networks, many times
def smallest_batch(settings: Model) -> int:
    """Return how many images a training batch must have at least."""
    match settings:
        case ConvNet():
            return convnet.smallest_batch(settings)
        case ViT():
            return vit.smallest_batch(settings)
        case Timm():
            return timm_models.smallest_batch(settings)
        case ResNet9() | ResNet():
            return 1  # their last features have several pixels
