"""One training step, run operation by operation or replayed as one CUDA graph.

A graph holds the making of the batch, forward, loss, backward, optimizer and the metric sums. One call launches what
takes hundreds of calls without it, which is most of the time of a small network on a large GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch

from cifarsweep.data.augment import EpochPlan
from cifarsweep.training.batches import BatchLoader
from cifarsweep.training.device import free_memory
from cifarsweep.training.optimizers import is_capturable
from cifarsweep.training.parallel import Team
from cifarsweep.training.schedule import BatchSlice
from cifarsweep.training.state import TrainState

#: Full batches that are trained eagerly before one is captured. They are ordinary steps of the trial: they create the
#: optimizer's state and let cuDNN and cuBLAS choose and allocate.
WARM_UPS = 3

Work = Callable[[], None]
#: Takes the step on a batch at a learning rate; returns before a GPU is done with it. When a capture fails, after which
#: all steps go without a graph, it returns the reason, once.
Step = Callable[[BatchSlice, float], str | None]


class Backend(Protocol):
    """Captures work as graphs."""

    def warm(self, work: Work) -> None:
        """Do the work as it will be captured."""

    def capture(self, work: Work) -> Work:
        """Record the work without doing it. Return a function that does it on the recorded tensors."""

    def recover(self) -> None:
        """Prepare the device for steps without graphs after a failed capture."""


class EagerStep:
    """Runs a step operation by operation."""

    def __init__(self, state: TrainState, loader: BatchLoader) -> None:
        self._state, self._loader = state, loader

    def __call__(self, batch: BatchSlice, rate: float) -> None:
        self._state.set_rate(rate)
        self._state.compute(*self._loader.train_batch(batch))
        self._state.count(batch.stop - batch.start)


class PartStep:
    """Runs a step on this process's part of each batch, operation by operation.

    A CUDA graph would hold the sums over all processes too, which a process that ends then leaves waiting for ever.
    """

    def __init__(self, state: TrainState, loader: BatchLoader, team: Team) -> None:
        self._state, self._loader, self._team = state, loader, team

    def __call__(self, batch: BatchSlice, rate: float) -> None:
        size = batch.stop - batch.start
        first, last = self._team.part(size)
        self._state.set_rate(rate)
        images, labels = self._loader.part_of_batch(batch, first, last)
        self._state.compute(images, labels, share=(last - first) / size)
        self._state.count(size)


@dataclass
class _FullBatch:
    """The step of a full batch: the plan that it reads, its work, and its graph once there is one."""

    plan: EpochPlan
    work: Work
    warm_ups: int = 0
    replay: Work | None = None


class GraphStep:
    """Replays one graph for full batches. The smaller last batch of an epoch runs eagerly."""

    def __init__(self, state: TrainState, loader: BatchLoader, backend: Backend) -> None:
        self._state, self._loader, self._backend = state, loader, backend
        self._plain = EagerStep(state, loader)
        self._full: _FullBatch | None = None
        self._failed = False

    def __call__(self, batch: BatchSlice, rate: float) -> str | None:
        size = batch.stop - batch.start
        if self._failed or size < self._state.trial.settings.batch_size:
            self._plain(batch, rate)
            return None
        plan = self._loader.batch_plan(batch)
        if self._full is None:
            self._full = _full_batch(self._state, self._loader, plan.copy())
        for held, fresh in zip(self._full.plan.drawn(), plan.drawn(), strict=True):
            held.copy_(fresh)
        self._state.set_rate(rate)
        failure = self._run(self._full)
        if failure is None:
            self._state.count(size)
            return None
        # Nothing of the step was done yet. Free what the capture took: the plain step may need the memory.
        self._full, self._failed = None, True
        self._state.optimizer.zero_grad()
        self._backend.recover()
        self._plain(batch, rate)
        return failure

    def _run(self, full: _FullBatch) -> str | None:
        """Do the step. If its capture fails, do nothing and return the reason."""
        if full.replay is None and full.warm_ups < WARM_UPS:
            self._backend.warm(full.work)
            full.warm_ups += 1
            return None
        try:
            full.replay = full.replay or self._backend.capture(full.work)
        except RuntimeError as error:  # no graph can hold it, or no memory; the next step tells of a lost device
            return _reason(error)
        full.replay()
        return None


def _full_batch(state: TrainState, loader: BatchLoader, plan: EpochPlan) -> _FullBatch:
    # Work that refers to its GraphStep would be a reference cycle, whose memory stays until Python collects it.
    return _FullBatch(plan, lambda: state.compute(*loader.planned_batch(plan)))


def _reason(error: RuntimeError) -> str:
    """The reason of a failed capture: its end raises again, and says only that something failed before.

    A name for the error in the caller would be a reference cycle, through its traceback.
    """
    cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
    return f"{type(cause).__name__}: {cause}"


class CudaGraphs:
    """The backend of a GPU. Source: docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs"."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Libraries keep a workspace for every stream that they see, so all trials of a process share one.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._newest: Callable[[], torch.cuda.CUDAGraph | None] = lambda: None

    def warm(self, work: Work) -> None:
        """Do the work on the stream of the captures, so that libraries have their workspaces there."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work()
        here.wait_stream(self._stream)

    def capture(self, work: Work) -> Work:
        """Record the work. Each replay draws new random numbers: torch knows its own generator."""
        graph, sharing = torch.cuda.CUDAGraph(), self._newest()
        # Graphs that live at once share their memory: none keeps a value in it from one replay to the next. torch
        # refuses a capture into a pool whose graphs are all gone.
        pool = None if sharing is None else sharing.pool()
        with torch.cuda.graph(graph, pool=pool, stream=self._stream):
            work()
        self._newest = weakref.ref(graph)
        return graph.replay

    def recover(self) -> None:
        """Empty the cache, and end the generator's part in the capture, which older releases of torch leave open."""
        generator = torch.cuda.default_generators[self._device.index]
        generator.graphsafe_set_state(generator.clone_state())
        free_memory(self._device)


@cache
def cuda_graphs(device: torch.device) -> CudaGraphs:
    """The backend of this process for a GPU."""
    return CudaGraphs(device)


def choose_step(state: TrainState, loader: BatchLoader, device: torch.device, graphs: bool = True) -> Step:
    """Graphs on a GPU unless they are switched off or the optimizer is not made for one, eager steps otherwise."""
    if graphs and device.type == "cuda" and is_capturable(state.optimizer):
        return GraphStep(state, loader, cuda_graphs(device))
    return EagerStep(state, loader)
