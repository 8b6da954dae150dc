"""The device that trains, and the precision it trains in."""

from __future__ import annotations

import torch

from cifarsweep.errors import DeviceError
from cifarsweep.spec.settings import Settings


def find_device(name: str) -> torch.device:
    """Return the device called `cpu` or `cuda:N`. DeviceError if this machine has none such."""
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name not in here:
        raise DeviceError(f"no device {name!r} here; this machine has {', '.join(here)}")
    return torch.device(name)


def autocast(settings: Settings, device: torch.device) -> torch.autocast:
    """Return the context of the forward pass. bfloat16 has float32's range, so no loss scaling is needed."""
    low = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


def wait_for(device: torch.device) -> None:
    """Return once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
