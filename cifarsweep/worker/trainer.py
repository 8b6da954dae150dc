"""Trains requests on one device; the only module of this room that imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cifarsweep.data.dataset import Dataset, load, split
from cifarsweep.errors import DeviceError
from cifarsweep.training.events import Event
from cifarsweep.training.loop import Run, train
from cifarsweep.training.place import open_folder
from cifarsweep.worker.protocol import Train


class DeviceTrainer:
    """Keeps the device and the last data set from one trial to the next."""

    def __init__(self, device: str, device_name: str) -> None:
        self.device, self.device_name = device, device_name
        self._dataset: Dataset | None = None

    @classmethod
    def on(cls, wanted: str) -> DeviceTrainer:
        """Take `cpu`, `auto` (a GPU where there is one) or a GPU by its number. Raises DeviceError."""
        count = torch.cuda.device_count() if wanted != "cpu" and torch.cuda.is_available() else 0
        if wanted == "cpu" or (wanted == "auto" and count == 0):
            return cls("cpu", _cpu_name())
        index = 0 if wanted == "auto" else int(wanted)
        if index >= count:
            have = f"its GPUs are 0 to {count - 1}" if count else "PyTorch sees no GPU here"
            raise DeviceError(f"there is no GPU {index} on this machine: {have}; use --cpu to train on the processor")
        torch.cuda.set_device(index)
        return cls(f"cuda:{index}", torch.cuda.get_device_name(index))

    def versions(self) -> dict[str, str]:
        """The versions that decide the bits of a result."""
        # not by an import of torchvision, which takes torch's compiler with it: 2 seconds
        found = {"torch": torch.__version__, "torchvision": version("torchvision")}
        if self.device != "cpu":
            found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
        return found

    @property
    def gpu(self) -> str | None:
        """The address on the PCI bus, by which NVIDIA's driver knows the GPU; of the whole GPU, if this is a part."""
        if self.device == "cpu":
            return None
        its: Any = torch.cuda.get_device_properties(self.device)
        return f"{its.pci_domain_id:08X}:{its.pci_bus_id:02X}:{its.pci_device_id:02X}.0"

    def train(self, request: Train, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train one request to its end, to a stop or to an exception."""
        settings = request.parsed()
        if self._dataset is None or self._dataset.name != settings.dataset:
            self._dataset = load(settings.dataset)
        return train(
            Run(
                settings=settings,
                seed=request.seed,
                split=split(self._dataset, settings.validation),
                classes=len(self._dataset.classes),
                device=self.device,
                folder=open_folder(request.folder),
                resume=request.resume,
                save_every_s=request.save_every_s,
                first_save_s=request.first_save_s,
                should_stop=should_stop,
            )
        )


def _cpu_name() -> str:
    """The processor's name as Linux gives it, else `CPU`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
