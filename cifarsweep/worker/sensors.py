"""Readings of the hardware: GPUs through NVIDIA's driver, processes, the flags of the processor. Never starts CUDA.

Readings of a GPU cover all processes that use it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifarsweep.errors import DeviceError
from cifarsweep.spec.metrics import (
    CPU_UTILISATION,
    GPU_CLOCK,
    GPU_MEMORY,
    GPU_POWER,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILISATION,
    MEMORY,
)

if TYPE_CHECKING:
    from psutil import Process

CPUINFO = Path("/proc/cpuinfo")
#: Flags of x86 processors that multiply in bfloat16. Only with the first is it faster than float32: with the second
#: alone convolutions took 1.7 times as long (benchmarks/LOG.md).
_TILES, _VECTORS = "amx_bf16", "avx512_bf16"
#: Listing every process of the machine takes milliseconds, so it is done every so many readings.
_DISCOVER_EVERY = 10
#: Reasons for slow clocks that count: power and heat, not idleness or a chosen limit.
_THROTTLE_REASONS = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
#: After these errors the driver is gone. Any other costs one reading: GPUs differ, containers hide things, drivers are
#: busy, and functions disappear from new versions.
_DRIVER_LOST = ("GpuIsLost", "ResetRequired", "Uninitialized", "DriverNotLoaded", "LibRmVersionMismatch")


def _memory_used(nvml: Any, gpu: Any) -> float:
    """Return the memory in use as `nvidia-smi` does: without the driver's own, if the driver tells the two apart."""
    try:
        return float(nvml.nvmlDeviceGetMemoryInfo(gpu, nvml.nvmlMemory_v2).used)
    except (nvml.NVMLError, AttributeError):
        return float(nvml.nvmlDeviceGetMemoryInfo(gpu).used)


def _throttled(nvml: Any, gpu: Any) -> float:
    reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
    return float(any(reasons & getattr(nvml, f"nvmlClocksEventReason{name}") for name in _THROTTLE_REASONS))


#: NVML gives per cent, mW, degrees Celsius and MHz (https://docs.nvidia.com/deploy/nvml-api).
_GAUGES: Mapping[str, Callable[[Any, Any], float]] = {
    GPU_UTILISATION: lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    GPU_MEMORY: _memory_used,
    GPU_POWER: lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    GPU_TEMPERATURE: lambda nvml, gpu: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
    GPU_CLOCK: lambda nvml, gpu: float(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
    GPU_THROTTLED: _throttled,
}


class GpuSensor:
    """A GPU by its address on the PCI bus, which does not depend on visible devices. Raises DeviceError."""

    def __init__(self, address: str) -> None:
        import pynvml

        self._nvml = pynvml
        self._lost = tuple(getattr(pynvml, f"NVMLError_{name}") for name in _DRIVER_LOST)
        self._read_at, self._joules = time.monotonic(), 0.0
        #: Whether the GPU counts its energy; known after the first reading.
        self._counts: bool | None = None
        with self._failing():
            pynvml.nvmlInit()
        try:
            with self._failing():
                self._gpu = pynvml.nvmlDeviceGetHandleByPciBusId(address)
        except DeviceError:
            self.close()
            raise

    def read(self) -> tuple[Mapping[str, float], float | None]:
        """Return what the gauges show, and the energy in J since some moment, if known. Raises DeviceError."""
        with self._failing():
            found = {name: self._ask(gauge) for name, gauge in _GAUGES.items()}
            counted = self._ask(lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000)
        if self._counts is None:
            self._counts = counted is not None
        values = {name: value for name, value in found.items() if value is not None}
        return values, (counted if self._counts else self._integrated(values.get(GPU_POWER)))

    def _ask(self, gauge: Callable[[Any, Any], float]) -> float | None:
        try:
            return gauge(self._nvml, self._gpu)
        except self._lost:
            raise
        except (self._nvml.NVMLError, AttributeError):
            return None

    def _integrated(self, watts: float | None) -> float | None:
        """Integrate power over time, for GPUs older than Volta, which don't count their energy."""
        now = time.monotonic()
        self._joules += (watts or 0.0) * (now - self._read_at)
        self._read_at = now
        return None if watts is None else self._joules

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (self._nvml.NVMLError, AttributeError) as error:
            raise DeviceError(f"no readings of the GPU: NVIDIA's driver says {str(error)!r}") from None

    def close(self) -> None:
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


class ProcessTree:
    """A child process and its descendants. Readings are empty once the child is gone."""

    def __init__(self, pid: int) -> None:
        import psutil

        self.pid = pid
        self._gone = psutil.Error
        self._members: set[Process] = set()
        self._reads = 0
        with contextlib.suppress(psutil.Error):
            self._members = {psutil.Process(pid)}
        self.read()  # for the next reading to count from

    def read(self) -> Mapping[str, float]:
        """Return processor cores busy since the last reading, and resident memory in bytes, shared pages included."""
        if self._reads % _DISCOVER_EVERY == 0:
            self._discover_children()
        self._reads += 1
        known = [one for member in tuple(self._members) if (one := self._read_process(member)) is not None]
        if all(member.pid != self.pid for member in self._members):
            return {}  # its descendants may outlive it for a moment
        return {CPU_UTILISATION: sum(cores for cores, _ in known), MEMORY: float(sum(rss for _, rss in known))}

    def _discover_children(self) -> None:
        for member in [each for each in self._members if each.pid == self.pid]:
            with contextlib.suppress(self._gone):
                # The union keeps known members, which remember their last reading.
                self._members |= set(member.children(recursive=True))

    def _read_process(self, member: Process) -> tuple[float, int] | None:
        try:
            with member.oneshot():
                return member.cpu_percent() / 100, member.memory_info().rss
        except self._gone:
            self._members.discard(member)
            return None


def faster_precision(cpuinfo: Path = CPUINFO) -> str:
    """Advise what to set to train faster on this processor; empty if nothing helps."""
    if _TILES not in _flags(cpuinfo):
        return ""
    return (
        f"it multiplies in bfloat16 ({_TILES}): `--set precision=bfloat16` at `create` trains faster here; "
        "the default on processors stays float32, so that results don't depend on which one it was"
    )


def precisions(cpuinfo: Path = CPUINFO) -> str:
    """Give the same advice, or why bfloat16 is not worth it here; empty if the processor lacks it."""
    if _VECTORS in _flags(cpuinfo) and not faster_precision(cpuinfo):
        return f"it has bfloat16 ({_VECTORS}) but no AMX, without which bfloat16 was slower than float32 when measured"
    return faster_precision(cpuinfo)


def _flags(cpuinfo: Path) -> set[str]:
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
