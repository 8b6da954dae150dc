"""The GPUs of this machine, read from NVIDIA's driver without torch or CUDA."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifarsweep.errors import DeviceError

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: There is no driver on this machine or in this container, so nothing is wrong if no GPU is used.
_ABSENT = ("LibraryNotFound", "DriverNotLoaded")
#: The GPU answers no call any more.
_GONE = ("GpuIsLost", "ResetRequired")
_OTHERWISE = "train on the processor with --cpu or --cpus N"


class NoDriver(DeviceError):
    """NVIDIA's driver is not installed."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver reports on one GPU. Memory in bytes, None if unknown; `fault` is why the GPU can't be used."""

    name: str
    memory: int | None
    free: int | None
    driver: str
    uuid: str = ""
    fault: str = ""


@contextlib.contextmanager
def _driver() -> Iterator[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except _errors(pynvml, *_ABSENT) as error:
        raise NoDriver(f"no GPU can be used here: {error}; {_OTHERWISE}") from None
    except pynvml.NVMLError as error:
        raise _no_answer(error) from None
    try:
        yield pynvml
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _no_answer(error: Exception) -> DeviceError:
    why = f"NVIDIA's driver does not answer: {error}"
    return DeviceError(f"no GPU can be used here: {why}; see what `nvidia-smi` says, or {_OTHERWISE}")


def _errors(nvml: Any, *names: str) -> tuple[type[Exception], ...]:
    """Return the classes of these errors that this version of the library has."""
    return tuple(found for name in names if (found := getattr(nvml, f"NVMLError_{name}", None)) is not None)


def _ask(nvml: Any, function: str, *arguments: object) -> Any:
    """Return the driver's answer; None if this GPU, driver, library or user has none. Raises if the GPU is gone."""
    try:
        return getattr(nvml, function)(*arguments)
    except _errors(nvml, *_GONE):
        raise
    except (nvml.NVMLError, AttributeError):
        return None


def installed() -> list[Gpu]:
    """Return every GPU of the machine, in PCI order. Raises DeviceError if there is no driver."""
    with _driver() as nvml:
        version = _ask(nvml, "nvmlSystemGetDriverVersion") or "unknown"
        try:
            count = nvml.nvmlDeviceGetCount()
        except (nvml.NVMLError, AttributeError) as error:
            raise _no_answer(error) from None
        return [_gpu(nvml, number, version) for number in range(count)]


def _gpu(nvml: Any, number: int, driver: str) -> Gpu:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(number)
        memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
        return Gpu(
            name=_ask(nvml, "nvmlDeviceGetName", handle) or "a GPU",
            memory=memory and memory.total,
            free=memory and memory.free,
            driver=driver,
            uuid=_ask(nvml, "nvmlDeviceGetUUID", handle) or "",
        )
    except nvml.NVMLError as error:
        return Gpu("a GPU", None, None, driver, fault=str(error))


def supported_cuda() -> str | None:
    """Return the newest CUDA that the driver runs, such as 12.2; None if unknown."""
    with _driver() as nvml:
        known = _ask(nvml, "nvmlSystemGetCudaDriverVersion_v2") or _ask(nvml, "nvmlSystemGetCudaDriverVersion")
    return f"{known // 1000}.{known % 1000 // 10}" if known else None


def cuda_mismatch(torch: str, built_for: str | None, driver: str, supported: str | None) -> str | None:
    """Return why this torch can't use the GPUs here, judging by versions; None if it can.

    `built_for` is torch's CUDA, None without one. A driver runs every CUDA of its major version and all older ones
    (docs.nvidia.com/deploy/cuda-compatibility, "Minor Version Compatibility").
    """
    cpu = "train on the processor with --cpu"
    if built_for is None:
        return f"torch {torch} is built without CUDA: install one that has it (pytorch.org/get-started), or {cpu}"
    if supported is None or _major(supported) >= _major(built_for):
        return None
    return (
        f"NVIDIA's driver {driver} supports CUDA up to {supported}, and torch {torch} needs CUDA {built_for}: "
        f"update the driver, install a torch built for CUDA {_major(supported)}, or {cpu}"
    )


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def visible(found: Sequence[Gpu], environ: Mapping[str, str] | None = None) -> list[int]:
    """Return the GPUs that a training process sees, as indices of `found`, in the process's order.

    `CUDA_VISIBLE_DEVICES` is read as CUDA reads it: the first invalid name ends the list, a repeated one empties it,
    and only one part of a GPU (MIG) is seen, which counts here as its GPU.
    Source: docs.nvidia.com/cuda/cuda-programming-guide, "CUDA Environment Variables"; torch/cuda/__init__.py.
    """
    chosen = (os.environ if environ is None else environ).get(VISIBLE)
    if chosen is None:
        return list(range(len(found)))
    names = chosen.split(",")
    if chosen.startswith("MIG-"):
        return [_gpu_of_part(names[0], found)] if found else []
    uuids = chosen.startswith("GPU-")
    numbers = _by_uuid(names, found) if uuids else [_leading_number(name.strip()) for name in names]
    shown = numbers[: next((at for at, number in enumerate(numbers) if number < 0), len(numbers))]
    if len(set(shown)) < len(shown):
        return []
    return shown[: next((at for at, number in enumerate(shown) if number >= len(found)), len(shown))]


def _by_uuid(names: Sequence[str], found: Sequence[Gpu]) -> list[int]:
    """Return the index of each name; -1 for a prefix of no UUID or of several."""
    matching = [[n for n, gpu in enumerate(found) if gpu.uuid.startswith(name) and name] for name in names]
    return [
        each[0] if len(each) == 1 and name.startswith("GPU-") else -1
        for name, each in zip(names, matching, strict=True)
    ]


def _gpu_of_part(part: str, found: Sequence[Gpu]) -> int:
    """Return the GPU of a part; only the older names of parts tell it (MIG-GPU-UUID/1/0)."""
    uuid = part.removeprefix("MIG-").partition("/")[0]
    return next((number for number, gpu in enumerate(found) if gpu.uuid == uuid), 0)


def _leading_number(text: str) -> int:
    """Read a number as C's strtoul does, so that `1st` is 1; -1 if there is none."""
    digits = re.match(r"[+-]?\d+", text, re.ASCII)
    return int(digits[0]) if digits else -1


@dataclass(frozen=True, slots=True)
class ChosenGpus:
    """What a program of the user's own trains on.

    `visible` is the value of CUDA_VISIBLE_DEVICES, empty on the processor; `addresses` are those on the PCI bus, none
    unless the driver tells all of them.
    """

    name: str
    visible: str
    addresses: tuple[str, ...] = ()


def choose(wanted: str, count: int, environ: Mapping[str, str] | None = None) -> ChosenGpus:
    """Return `count` GPUs for each trial: `cpu`, `auto` for the first ones or the processor, or numbers like `0,1`.

    Numbers count what CUDA_VISIBLE_DEVICES leaves, as they do for torch. Raises DeviceError if they are not here.
    """
    environ = os.environ if environ is None else environ
    try:
        found = [] if wanted == "cpu" else installed()
    except NoDriver:
        if wanted != "auto":
            raise
        found = []
    seen = visible(found, environ)
    if wanted == "cpu" or (wanted == "auto" and not seen):
        return ChosenGpus(processor_name(), "")
    numbers = list(range(count)) if wanted == "auto" else [int(part) for part in wanted.split(",")]
    if len(numbers) != count:
        one = "GPU" if count == 1 else "GPUs"
        raise DeviceError(f"--gpu {wanted}: a trial of this program takes {count} {one} (`gpus` in [program])")
    if missing := [number for number in numbers if number >= len(seen)]:
        raise DeviceError(
            f"there is no GPU {missing[0]} for this program: {len(seen)} are visible here, and it takes {count}"
        )
    names = dict.fromkeys(found[seen[number]].name for number in numbers)
    limit = environ.get(VISIBLE)
    tokens = [str(number) for number in range(len(found))] if limit is None else limit.split(",")
    addresses = _addresses([seen[number] for number in numbers])
    title = " and ".join(names) if count == 1 else f"{count} x {' and '.join(names)}"
    return ChosenGpus(title, ",".join(tokens[number] for number in numbers), addresses)


def _addresses(numbers: Sequence[int]) -> tuple[str, ...]:
    """Return the addresses of GPUs on the PCI bus; none if the driver does not tell one of them."""
    with _driver() as nvml:
        found = [_ask(nvml, "nvmlDeviceGetPciInfo", nvml.nvmlDeviceGetHandleByIndex(number)) for number in numbers]
    buses = [getattr(info, "busId", None) for info in found]
    known = [bus.decode() if isinstance(bus, bytes) else bus for bus in buses if bus]
    return tuple(known) if len(known) == len(numbers) else ()


def processor_name() -> str:
    """Return the processor's name as Linux gives it, else `CPU`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def count_visible() -> int:
    """Count the GPUs that a training process sees. Raises DeviceError if there is no driver."""
    return len(visible(installed()))


def parse_gpus(wanted: str) -> list[int]:
    """Parse `all` or numbers separated by commas. Raises DeviceError if one of them is not here."""
    count = count_visible()
    numbers = list(range(count)) if wanted == "all" else _numbers(wanted)
    missing = [number for number in numbers if number >= count]
    if missing or not numbers:
        which = f"there is no GPU {missing[0]}: " if missing else ""
        limit = os.environ.get(VISIBLE)
        shown = f"this machine has {count}" if limit is None else f"{VISIBLE}={limit} leaves {count} of this machine's"
        raise DeviceError(f"--gpus {wanted}: {which}{shown}; `nvidia-smi` lists them")
    return numbers


def _numbers(wanted: str) -> list[int]:
    parts = [part.strip() for part in wanted.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise DeviceError(f"--gpus {wanted!r} is neither all nor numbers like 0,1")
    return sorted({int(part) for part in parts})
