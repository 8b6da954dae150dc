"""The device that trains, and the precision it trains in."""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache

import torch

from cifarsweep.errors import DeviceError
from cifarsweep.spec.settings import Settings

#: Compute capability of the Ampere GPUs.
_FIRST_WITH_BFLOAT16 = (8, 0)


def find_device(name: str) -> torch.device:
    """Return the device called `cpu` or `cuda:N`. DeviceError if this machine has none such."""
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
    """Whether it is a GPU with instructions for bfloat16: older ones only emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FIRST_WITH_BFLOAT16


def wait_for(device: torch.device) -> None:
    """Return once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Give memory that nothing holds any more back to a GPU, for other processes on it and for larger blocks."""
    if device.type == "cuda":
        gc.collect()  # a network may hold itself by a reference cycle
        # torch's allocator may refuse after a capture that failed (pytorch/pytorch#180395).
        with suppress(RuntimeError):
            torch.cuda.empty_cache()
