"""Networks by their settings, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode

from cifarsweep.models import convnet, own_models, resnet, timm_models, vit
from cifarsweep.models.compiler import skip_compiler_import
from cifarsweep.models.initialization import draw_as_torch, fill_with_zeros
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.network_flops import forward_flops
from cifarsweep.spec.settings import ConvNet, Model, OwnModel, ResNet, ResNet9, Timm, ViT

_Own = convnet.ConvNet | resnet.ResNet9 | resnet.ResNet | vit.ViT


def build(
    settings: Model, classes: int, generator: torch.Generator | None = None, shape: ImageShape = CIFAR
) -> torch.nn.Module:
    """Return a network from images (N, channels, side, side) to logits (N, classes), channels-last, on the CPU.

    Every weight that is not pretrained comes from `generator` (a CPU one), not from the global generators; without it
    weights have the defaults of torch. Raises SpecError and DataError for a model of timm that can't be built.
    """
    if isinstance(settings, Timm):
        model = timm_models.build(settings, classes, shape, generator)
    elif isinstance(settings, OwnModel):
        model = own_models.build(settings, classes, shape, generator)
    else:
        model = own = _own(settings, classes, shape)
        if generator is not None:
            _initialise(own, settings, generator)
    return model.to(memory_format=torch.channels_last)


def _own(settings: ConvNet | ResNet9 | ResNet | ViT, classes: int, shape: ImageShape) -> _Own:
    match settings:
        case ConvNet():
            return convnet.ConvNet(settings, classes, shape)
        case ResNet9():
            return resnet.ResNet9(settings, classes, shape)
        case ResNet():
            return resnet.ResNet(settings, classes, shape)
        case ViT():
            return vit.ViT(settings, classes, shape)


def _initialise(model: _Own, settings: ConvNet | ResNet9 | ResNet | ViT, generator: torch.Generator) -> None:
    init = "he" if isinstance(settings, ViT) else settings.init
    match init:
        case "torch":
            draw_as_torch(model, generator)
        case "zero":
            fill_with_zeros(model)
        case "he":
            model.initialise(generator)


@lru_cache(maxsize=64)  # a study trains few networks, many times
def smallest_batch(settings: Model, shape: ImageShape = CIFAR) -> int:
    """Return how many images a training batch must have at least."""
    match settings:
        case ConvNet():
            return convnet.smallest_batch(settings, shape)
        case ViT():
            return vit.smallest_batch(settings, shape)
        case Timm():
            return timm_models.smallest_batch(settings, shape)
        case OwnModel():
            return own_models.smallest_batch(settings, shape)
        case ResNet9() | ResNet():
            return resnet.smallest_batch(settings, shape)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a network. `flops_per_image` is of the forward pass.

    A multiply-add counts as two, norms and activations as nothing.
    """

    params: int
    flops_per_image: int

    def training_flops(self, images: int) -> int:
        """Return the FLOPs of training steps on so many images: the backward pass takes twice the forward pass.

        Section 2.1 of https://arxiv.org/abs/2001.08361.
        """
        return 3 * self.flops_per_image * images


@lru_cache(maxsize=64)  # counting is slow, and trials of a study share their networks
def cost(settings: Model, classes: int, shape: ImageShape = CIFAR) -> Cost:
    """Return the cost: of our own networks what the settings tell, of others what is counted.

    To count imports torch's compiler in most cases, which takes longer than all else before the first step.
    """
    flops = forward_flops(settings, classes, shape)
    if flops is None:
        return counted_cost(settings, classes, shape)
    with torch.device("meta"):
        return Cost(_parameters(build(settings, classes, shape=shape)), flops)


def counted_cost(settings: Model, classes: int, shape: ImageShape = CIFAR) -> Cost:
    """Count the cost on the meta device: nothing is computed, allocated or fetched, but for the user's own network."""
    skip_compiler_import(_FlopCounterMode.__torch_dispatch__)
    if isinstance(settings, Timm):
        settings = settings.model_copy(update={"pretrained": False})
    # Code of the user need not know the meta device.
    own = isinstance(settings, OwnModel)
    with torch.device("cpu" if own else "meta"):
        # The counter needs gradient functions, which a learned input of a layer lacks, as attention pools have it.
        model = build(settings, classes, shape=shape).eval().requires_grad_(False)
        image = torch.empty(1, shape.channels, shape.side, shape.side)
    with own_models.untouched_generators(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image.zero_())
    return Cost(_parameters(model), counter.get_total_flops())


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
