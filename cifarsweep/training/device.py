"""The device that trains, its precision, and the memory layout of a network on it."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from cifarsweep.errors import DeviceError
from cifarsweep.spec.settings import Settings

#: Compute capability of the Ampere GPUs.
_FIRST_WITH_BFLOAT16 = (8, 0)


def find_device(name: str) -> torch.device:
    """Return the device called `cpu` or `cuda:N`. DeviceError if this machine does not have it."""
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name not in here:
        raise DeviceError(f"no device {name!r} here; this machine has {', '.join(here)}")
    return torch.device(name)


def autocast(settings: Settings, device: torch.device) -> torch.autocast:
    """Return the context of the forward pass. bfloat16 has float32's range, so no loss scaling is needed."""
    low = settings.precision == "bfloat16" or (settings.precision == "auto" and _has_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


@cache
def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device is a GPU with instructions for bfloat16: older ones emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FIRST_WITH_BFLOAT16


def wait_for(device: torch.device) -> None:
    """Return once the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Return unused memory to a GPU, for other processes on it and for larger blocks."""
    if device.type == "cuda":
        gc.collect()  # a network may hold itself by a reference cycle
        # torch's allocator may refuse after a capture that failed (pytorch/pytorch#180395).
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


#: Convolutions with at least this many input channels, of images of at most this side, are faster on a CPU where
#: channels come first: 1.3 to 2.6 times (oneDNN 3.13, AVX-512). All others are faster with channels last.
_CHANNELS, _SIDE = 256, 4


def set_memory_format(model: nn.Module, image: Tensor) -> nn.Module:
    """Choose the memory format of each convolution of a channels-last network, given an image (1, 3, H, W).

    It changes the time of a step and nothing else.
    """
    if image.device.type == "cpu":
        for conv in model.modules():
            if isinstance(conv, nn.Conv2d) and type(conv) is not nn.Conv2d:
                # Most convolutions of timm compute their weights anew at each step, row by row.
                conv.to(memory_format=torch.contiguous_format)
        for conv in _small_and_wide(model, image):
            conv.to(memory_format=torch.contiguous_format)
            conv.register_forward_pre_hook(_channels_first)
            conv.register_forward_hook(_channels_last)  # for the norm behind it, which is slower the other way
    return model


def _channels_first(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].contiguous(), *inputs[1:])


def _channels_last(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _small_and_wide(model: nn.Module, image: Tensor) -> list[nn.Module]:
    """The convolutions with many channels and small images. Neither the network nor a generator changes."""
    wide = [each for each in model.modules() if type(each) is nn.Conv2d and each.in_channels >= _CHANNELS]
    if not wide:
        return []
    found: dict[nn.Module, None] = {}

    def note_size(conv: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[-1] <= _SIDE:
            found[conv] = None

    hooks = [conv.register_forward_pre_hook(note_size) for conv in wide]
    try:
        model.eval()(image)
    finally:
        model.train()
        for hook in hooks:
            hook.remove()
    return list(found)
