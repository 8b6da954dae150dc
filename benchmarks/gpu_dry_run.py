"""The machine of `benchmarks/gpu.py --dry-run`: the tests' pretended GPU, with a memory that can run out and gauges."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.append(str(Path(__file__).parents[1] / "tests" / "training"))

import gpu_stages
import pretended_gpu
import torch

#: Parts of the memory that a plain step needs, and a step with a graph.
_PLAIN, _GRAPH = 0.3, 0.5
_READING = {name: 50.0 for name in gpu_stages.SMI}


class Gpu(pretended_gpu.PretendedGpu):
    """Runs out of memory where a process may have less than a part of it."""

    part = 1.0

    def warm(self, work: Callable[[], None]) -> None:
        """Do the work if there is memory for it."""
        self._need(_PLAIN)
        super().warm(work)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the work if there is memory for that."""
        self._need(_GRAPH)
        return super().capture(work)

    def _need(self, part: float) -> None:
        if self.part < part:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")


class Sensor:
    """Reads what the pretended nvidia-smi reads."""

    def __init__(self, address: str) -> None:
        self.read = lambda: (_READING, None)

    def close(self) -> None:
        """Nothing is open."""


@contextlib.contextmanager
def pretended_machine() -> Iterator[None]:
    """Let torch, the sensors and nvidia-smi find one GPU."""
    with mock.patch.object(pretended_gpu, "PretendedGpu", Gpu), pretended_gpu.pretended_gpu() as gpu:
        properties = SimpleNamespace(pci_domain_id=0, pci_bus_id=1, pci_device_id=0)
        fakes = {
            "get_device_name": lambda *_: "pretended: the times mean nothing",
            "get_device_properties": lambda *_: properties,
            "memory_allocated": lambda *_: gpu.count(),
            "memory_reserved": lambda *_: gpu.count(),
            "max_memory_reserved": lambda *_: (_GRAPH if gpu.captures else _PLAIN) * 100,
            "reset_peak_memory_stats": lambda *_: None,
            "mem_get_info": lambda *_: (100, 100),
            "set_per_process_memory_fraction": lambda part, _: setattr(gpu, "part", part),
        }
        with contextlib.ExitStack() as stack:
            for name, fake in fakes.items():
                stack.enter_context(mock.patch.object(torch.cuda, name, fake))
            stack.enter_context(mock.patch("cifarsweep.training.device.autocast", pretended_gpu.autocast))
            stack.enter_context(mock.patch.object(gpu_stages, "smi", lambda: _READING))
            stack.enter_context(mock.patch("cifarsweep.worker.sensors.GpuSensor", Sensor))
            yield
