"""Trains requests on one device; the only module of this room that imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch

from cifarsweep.checkpoints.location import branches_of, open_folder
from cifarsweep.data.dataset import Dataset, load, split
from cifarsweep.errors import DataError, DataUnusable, DeviceError
from cifarsweep.own_code import know
from cifarsweep.training.device import free_memory
from cifarsweep.training.events import Event, Finished, Saving, Stopped
from cifarsweep.training.loop import Run, train
from cifarsweep.training.parallel import Team
from cifarsweep.training.parallel import TeamBroken as TeamBroken
from cifarsweep.worker import gpus
from cifarsweep.worker.child.peers import Peers
from cifarsweep.worker.child.protocol import DataFile, Train


class DeviceTrainer:
    """Keeps the device and the last data set from one trial to the next."""

    def __init__(self, device: str, device_name: str, *, graphs: bool = True, others: Sequence[str] = ()) -> None:
        self.device, self.device_name, self.graphs, self._others = device, device_name, graphs, tuple(others)
        self._dataset: Dataset | None = None

    @classmethod
    def on(cls, wanted: str, *, graphs: bool = True) -> DeviceTrainer:
        """Take `cpu`, `auto` (a GPU if there is one) or a GPU by its number, and test it.

        Several numbers, as `0,1`, are GPUs for one trial, of one model: the first is taken and tested here.
        Raises DeviceError if it can't be used, and with `auto` if torch can't use the GPU that is here: training on the
        processor, a hundred times as slow, is for the user to decide.
        """
        count = torch.cuda.device_count() if wanted != "cpu" and torch.cuda.is_available() else 0
        if wanted != "cpu" and count == 0:
            _refuse_idle_gpus()
        if wanted == "cpu" or (wanted == "auto" and count == 0):
            return cls("cpu", gpus.processor_name(), graphs=graphs)
        index, *others = [0] if wanted == "auto" else map(int, wanted.split(","))
        if (absent := max(index, *others, 0)) >= count:
            have = f"its GPUs are 0 to {count - 1}" if count else "PyTorch sees no GPU here"
            raise DeviceError(f"there is no GPU {absent} on this machine: {have}; use --cpu to train on the processor")
        _check_one_model([index, *others])
        torch.cuda.set_device(index)
        name, more = torch.cuda.get_device_name(index), [f"cuda:{each}" for each in others]
        trainer = cls(f"cuda:{index}", name, graphs=graphs, others=more)
        try:
            trainer.check()
        except RuntimeError as error:
            if "no kernel image" in str(error):
                raise DeviceError(_too_old_or_new(trainer.device_name, index)) from None
            raise
        return trainer

    def check(self) -> None:
        """Compute something on a GPU and wait for it. Raises whatever is wrong with the device."""
        if self.device != "cpu":
            found = int(torch.arange(1000, device=self.device).square().sum())
            if found != 332_833_500:
                raise DeviceError(f"{self.device_name} computes wrongly: the first 1,000 squares add up to {found}")

    def versions(self) -> dict[str, str]:
        """Return the versions that decide the bits of a result."""
        # Importing torchvision would import torch's compiler: 2 seconds.
        found = {"torch": torch.__version__, "torchvision": version("torchvision")}
        if self.device != "cpu":
            found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
        else:
            # Processors of one name may differ in it, as those of virtual machines do, and the last bits with it.
            found["instructions"] = torch.backends.cpu.get_cpu_capability()
        return found

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs' addresses on the PCI bus, as NVIDIA's driver knows them; for a MIG part, that of the whole GPU."""
        return () if self.device == "cpu" else tuple(map(_address, (self.device, *self._others)))

    def devices(self, count: int) -> list[str]:
        """Return the devices of a trial on so many. Raises DeviceError where this process has fewer."""
        here = [self.device] * count if self.device == "cpu" else [self.device, *self._others]
        if len(here) < count:
            raise DeviceError(f"devices: the trial needs {count} GPUs, and this worker has {len(here)} for a trial")
        return here[:count]

    def prepare(self, request: Train) -> Dataset:
        """Take note of the code that the request may name, and return its images. Raises DataUnusable."""
        know(request.code)
        self._dataset = self._load(request.parsed().dataset, request.data)
        return self._dataset

    def train(
        self, request: Train, should_stop: Callable[[], bool] = lambda: False, team: Team | None = None
    ) -> Iterator[Event]:
        """Train the request, as one process of a team if there is one."""
        settings, dataset = request.parsed(), self.prepare(request)
        branch = request.branch
        events = train(
            Run(
                settings=settings,
                seed=request.seed,
                split=split(dataset, settings.validation),
                classes=len(dataset.classes),
                device=self.device,
                folder=open_folder(request.folder),
                resume=request.resume,
                save_every_s=request.save_every_s,
                first_save_s=request.first_save_s,
                should_stop=should_stop,
                graphs=self.graphs,
                branch_steps=frozenset(request.branch_steps),
                branches=open_folder(branches_of(request.folder)) if request.branch_steps else None,
                begin=(open_folder(branch.folder), branch.checkpoint) if branch else None,
                team=team,
            )
        )
        return _on_the_same_images(events, dataset)

    def free_memory(self) -> None:
        """Return the memory of finished trials to the GPU."""
        free_memory(torch.device(self.device))

    def _load(self, name: str, wanted: DataFile | None) -> Dataset:
        """Return the requested images, from memory or from their file. Raises DataUnusable."""
        held, self._dataset = self._dataset, None
        try:
            if held is None or held.name != name or not _fits(held, wanted):
                held = load(name, trusted=wanted.stamp if wanted else None)
            if wanted is not None and held.sha256 != wanted.sha256:
                raise DataError(
                    f"{held.file.path} was replaced: it holds images with sha256 {held.sha256} and no longer those "
                    f"with {wanted.sha256}"
                )
        except DataError as error:
            raise DataUnusable(str(error)) from error
        return held


class Leader:
    """Trains requests, with other processes where the settings name several devices.

    Those stay for the next trial on as many. `arguments` are of their command line, and `end_with` writes a last reply.
    """

    def __init__(self, trainer: DeviceTrainer, arguments: Sequence[str], end_with: Callable[[bytes], NoReturn]) -> None:
        self.trainer, self._arguments, self._end_with = trainer, arguments, end_with
        self._peers: Peers | None = None
        self._team: Team | None = None
        #: Whether a trial has failed that others trained too: they are in no known state, and this process must end.
        self.failed = False

    def train(self, request: Train, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train the request; other processes that it needs are started first."""
        count = request.parsed().devices
        if self._peers is not None and self._peers.size != count:
            self._dismiss()
        if count == 1:
            return self.trainer.train(request, should_stop)
        return self._lead(request, should_stop, self.trainer.devices(count))

    def _lead(self, request: Train, should_stop: Callable[[], bool], devices: Sequence[str]) -> Iterator[Event]:
        self.trainer.prepare(request)  # where the images can't be used, the others need not know
        if self._peers is not None and not self._peers.begin(request):
            self._dismiss()
        if self._peers is None:
            self._peers = Peers(devices, self._arguments, self._end_with)
            self._peers.begin(request)  # where one has ended by now, this process ends as well
        peers = self._peers
        try:
            if self._team is None:
                self._team = join(0, len(devices), devices[0], peers.agree, peers.meeting_point)
                peers.have_met()
            for event in self.trainer.train(request, should_stop, self._team):
                if isinstance(event, Finished | Stopped):
                    peers.end_of_trial()
                yield event
        except Exception as error:
            self.failed = True
            peers.fail(of_others=isinstance(error, TeamBroken))
            raise

    def _dismiss(self) -> None:
        """End the other processes, which wait for a trial. On GPUs this one too, should one of them have gone."""
        assert self._peers is not None
        if not self._peers.usable and self.trainer.device != "cpu":
            raise RuntimeError("CUDA error: a process that shared the last trial has gone, and the GPUs may not answer")
        self._peers.dismiss()
        if self._team is not None:
            with suppress(TeamBroken):
                self._team.leave()
        self._peers = self._team = None


def join(rank: int, size: int, device: str, agree: Callable[[bool], bool], meeting_point: Path) -> Team:
    """Wait until all processes of a trial are here."""
    return Team.join(rank, size, torch.device(device), agree, meeting_point)


def _fits(held: Dataset, wanted: DataFile | None) -> bool:
    """Return whether the images in memory are the wanted ones and their file is unchanged."""
    if wanted is None or held.sha256 != wanted.sha256:
        return False
    try:
        held.file.check()
    except DataError:
        return False
    return True


def _on_the_same_images(events: Iterator[Event], dataset: Dataset) -> Iterator[Event]:
    """Yield the events. Raises DataUnusable before a checkpoint or result if the data file has been changed."""
    for event in events:
        if isinstance(event, Saving | Finished):
            try:
                dataset.file.check()
            except DataError as error:
                raise DataUnusable(str(error)) from error
        yield event


def _refuse_idle_gpus() -> None:
    """Raise DeviceError if the driver shows a GPU to this process and torch can't use it."""
    try:
        here = gpus.installed()
        supported = gpus.supported_cuda()
    except gpus.NoDriver:
        return
    seen = [here[number] for number in gpus.visible(here)]
    if not seen:
        return
    mismatch = gpus.cuda_mismatch(torch.__version__, torch.version.cuda, seen[0].driver, supported)
    why = seen[0].fault or mismatch or _cuda_error()
    raise DeviceError(f"{seen[0].name} can't be used: {why}")


def _check_one_model(indices: Sequence[int]) -> None:
    """Raise DeviceError where GPUs for one trial differ: no step would give the same bits on all of them."""
    first, *others = ((index, torch.cuda.get_device_name(index)) for index in indices)
    for index, name in others:
        if name != first[1]:
            raise DeviceError(
                f"GPU {first[0]} is {first[1]} and GPU {index} is {name}: a trial needs GPUs of one model; name others "
                "with --gpu"
            )


def _address(device: str) -> str:
    its: Any = torch.cuda.get_device_properties(device)
    return f"{its.pci_domain_id:08X}:{its.pci_bus_id:02X}:{its.pci_device_id:02X}.0"


def _too_old_or_new(name: str, index: int) -> str:
    major, minor = torch.cuda.get_device_capability(index)
    built_for = ", ".join(torch.cuda.get_arch_list())
    return (
        f"{name} has compute capability {major}.{minor}, and torch {torch.__version__} is built for {built_for}: "
        "install a torch built for this GPU (pytorch.org/get-started), or train on the processor with --cpu"
    )


def _cuda_error() -> str:
    """Return torch's error when it starts CUDA."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return f"{str(error).splitlines()[0]}; see what `nvidia-smi` says, or train on the processor with --cpu"
    return "torch finds no GPU; see what `nvidia-smi` says, or train on the processor with --cpu"
