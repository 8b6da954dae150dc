"""Networks of the user's own code."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from cifarsweep.own_code import OwnCodeError, load, user_line
from cifarsweep.own_parts import checked_arguments
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.settings import OwnModel

#: What the data set decides, by the names of keyword arguments that get it where a class has them.
_CLASSES, _CHANNELS, _SIZE = ("classes", "num_classes"), ("channels", "in_chans"), ("size", "img_size")


def build(settings: OwnModel, classes: int, shape: ImageShape, generator: torch.Generator | None) -> nn.Module:
    """Return the network. Its class draws from the global generators, seeded here and then restored.

    The class gets the keyword arguments of the settings, `classes` or `num_classes`, and, where it has them, `channels`
    or `in_chans` and `size` or `img_size`. Raises OwnCodeError, a SpecError, for what it is not or does not accept.
    """
    part = load("model", settings.name, settings.code)
    if not (inspect.isclass(part) and issubclass(part, nn.Module)):
        raise OwnCodeError(f"model.name: {settings.name} must be a class that inherits torch.nn.Module")
    known = dict.fromkeys(_CLASSES, classes) | dict.fromkeys(_CHANNELS, shape.channels)
    known |= dict.fromkeys(_SIZE, shape.side)
    arguments = checked_arguments(part, settings, "model", known)
    with untouched_generators(), torch.device("cpu"):
        if generator is not None:
            number = int(torch.randint(1 << 62, (), generator=generator))
            # Seed the default generator alone: torch.manual_seed would reseed the GPU's as well.
            torch.default_generator.manual_seed(number)
            np.random.seed(number % 2**32)
            random.seed(number)
        try:
            net = part(**arguments)
        except Exception as error:
            raise OwnCodeError(f"model: {settings.name} can't be built: {user_line(error)}") from error
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise OwnCodeError(f"model: {settings.name} has no parameter to train")
    return net


@contextlib.contextmanager
def untouched_generators() -> Iterator[None]:
    """Give the global generators of the processor back as they were."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


@lru_cache(maxsize=64)
def smallest_batch(settings: OwnModel, shape: ImageShape) -> int:
    """Return how many images a training batch needs, by a trial with one."""
    with untouched_generators(), torch.no_grad():
        try:
            build(settings, 2, shape, None).train()(blank(1, shape))
        except ValueError as error:  # of batch norm: "Expected more than 1 value per channel when training"
            if "more than 1 value" not in str(error):
                raise
            return 2
    return 1


def blank(images: int, shape: ImageShape) -> Tensor:
    """Return images of zeros, float32 (N, channels, side, side)."""
    return torch.zeros(images, shape.channels, shape.side, shape.side)
