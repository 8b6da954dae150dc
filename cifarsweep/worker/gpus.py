"""The graphics processors of this machine, asked of NVIDIA's driver: neither torch nor CUDA is started for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cifarsweep.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver says of one GPU. Memory in bytes."""

    name: str
    memory: int
    free: int
    driver: str


@contextlib.contextmanager
def _driver() -> Iterator[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise DeviceError(f"no GPU can be used here: {error}; train on the processor with --cpu or --cpus N") from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def installed() -> list[Gpu]:
    """Every GPU of the machine. Raises DeviceError where there is no driver."""
    with _driver() as nvml:
        version = nvml.nvmlSystemGetDriverVersion()
        return [_gpu(nvml, number, version) for number in range(nvml.nvmlDeviceGetCount())]


def _gpu(nvml: Any, number: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(nvml.nvmlDeviceGetName(handle), memory.total, memory.free, driver)


def usable() -> int:
    """How many GPUs a training process sees, which numbers them from 0. Raises DeviceError where there is no driver."""
    count = len(installed())
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return count if chosen is None else min(count, sum(bool(name.strip()) for name in chosen.split(",")))


def choose(wanted: str) -> list[int]:
    """Read `all` or numbers with commas between. Raises DeviceError where one of them is not here."""
    count = usable()
    numbers = list(range(count)) if wanted == "all" else _numbers(wanted)
    missing = [number for number in numbers if number >= count]
    if missing or not numbers:
        which = f"there is no GPU {missing[0]}: " if missing else ""
        raise DeviceError(f"--gpus {wanted}: {which}this machine has {count}; `nvidia-smi` lists them")
    return numbers


def _numbers(wanted: str) -> list[int]:
    parts = [part.strip() for part in wanted.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise DeviceError(f"--gpus {wanted!r} is neither all nor numbers like 0,1")
    return sorted({int(part) for part in parts})
