"""A driver of one GPU or several, in place of NVIDIA's: `pynvml` as far as we know it."""

import sys
from types import SimpleNamespace
from typing import Any

import pynvml

ADDRESS, SECOND = "00000000:1B:00.0", "00000000:43:00.0"
_ERRORS = (
    *("NotSupported", "FunctionNotFound", "NoPermission", "GpuIsLost", "ResetRequired", "Uninitialized", "Timeout"),
    *("DriverNotLoaded", "LibraryNotFound", "LibRmVersionMismatch", "Unknown"),
)


class Nvml:
    """Each look at the energy finds a joule more. `broken` are the errors that functions raise, by name.

    A function whose error is AttributeError is not there. `lost` are the numbers of GPUs that fell off the bus.
    """

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = pynvml.NVML_TEMPERATURE_GPU, pynvml.NVML_CLOCK_SM
    nvmlMemory_v2 = pynvml.nvmlMemory_v2

    class NVMLError(Exception):
        def __str__(self) -> str:
            return type(self).__name__

    def __init__(self) -> None:
        self.milliwatts, self.millijoules, self.reasons = 100_000, 0, 0
        self.broken: dict[str, type[Exception]] = {}
        self.open = 0
        self.versions = {self.nvmlMemory_v2}
        self.uuids, self.cuda, self.lost = ["GPU-aaaa-1"], 13020, set[int]()
        for name in _ERRORS:
            setattr(self, f"NVMLError_{name}", type(f"NVMLError_{name}", (self.NVMLError,), {}))

    @classmethod
    def install(cls, monkeypatch: Any) -> Any:
        nvml = cls()
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return nvml

    def __getattribute__(self, name: str) -> Any:
        if name in (broken := object.__getattribute__(self, "__dict__").get("broken", {})):
            raise broken[name]()
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["broken"] or not name.startswith("nvmlClocksEventReason"):
            # As a module says it: the import statement itself asks for what a module may lack.
            raise AttributeError(f"NVML has no {name}")
        return getattr(pynvml, name)

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "595.71.05"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self.cuda

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> str:
        if number in self.lost:
            raise self.NVMLError_GpuIsLost  # type: ignore[attr-defined]
        return self.uuids[number]

    def nvmlDeviceGetUUID(self, gpu: str) -> str:
        return gpu

    def nvmlDeviceGetName(self, gpu: str) -> str:
        return "NVIDIA H200"

    def nvmlDeviceGetPciInfo(self, gpu: str) -> SimpleNamespace:
        return SimpleNamespace(busId=ADDRESS)

    def nvmlDeviceGetHandleByPciBusId(self, address: str) -> str:
        assert address in (ADDRESS, SECOND)
        return "second" if address == SECOND else "gpu"

    def nvmlDeviceGetUtilizationRates(self, gpu: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=87, memory=40)

    def nvmlDeviceGetMemoryInfo(self, gpu: str, version: int | None = None) -> SimpleNamespace:
        """The first version of the answer counts the GiB that the driver keeps as used."""
        if version is not None and version not in self.versions:
            raise self.NVMLError_FunctionNotFound  # type: ignore[attr-defined]
        return SimpleNamespace(total=80 * 2**30, free=77 * 2**30, used=(3 if version is None else 2) * 2**30)

    def nvmlDeviceGetPowerUsage(self, gpu: str) -> int:
        return self.milliwatts

    def nvmlDeviceGetTemperature(self, gpu: str, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return 70 if gpu == "second" else 64

    def nvmlDeviceGetClockInfo(self, gpu: str, clock: int) -> int:
        assert clock == self.NVML_CLOCK_SM
        return 1755

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: str) -> int:
        return self.reasons

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: str) -> int:
        self.millijoules += 1000
        return self.millijoules
