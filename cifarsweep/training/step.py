"""One training step behind one small interface: run operation by operation, or replayed as one CUDA graph.

A graph holds the making of the batch, forward, loss, backward, optimizer and the metric sums. It launches with one call
what costs Python hundreds, which is most of the time of a small network on a large GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch

from cifarsweep.data.augment import EpochPlan
from cifarsweep.training.batches import Feed
from cifarsweep.training.device import free_memory
from cifarsweep.training.schedule import Slice
from cifarsweep.training.state import TrainState

#: Full batches that are trained as they are before one is captured. They are steps of the trial like any other, so
#: nothing has to be undone after them: they make the optimizer's state and let cuDNN and cuBLAS choose and allocate.
WARM_UPS = 3

Work = Callable[[], None]
#: Takes the step on the images of a slice at a learning rate; returns before a GPU is done with it. Where it turns out
#: that all steps from here on go without a graph, it returns why, once.
Step = Callable[[Slice, float], str | None]


class Backend(Protocol):
    """What makes graphs."""

    def warm(self, work: Work) -> None:
        """Do the work as it will be captured."""

    def capture(self, work: Work) -> Work:
        """Record the work without doing it; return what does it, on the tensors of the recording."""

    def recover(self) -> None:
        """Make the device fit for steps without graphs after a capture that failed."""


class EagerStep:
    """Operation by operation."""

    def __init__(self, state: TrainState, feed: Feed) -> None:
        self._state, self._feed = state, feed

    def __call__(self, part: Slice, rate: float) -> None:
        """Take the step."""
        self._state.set_rate(rate)
        self._state.compute(*self._feed.train_batch(part))
        self._state.count(part.stop - part.start)


@dataclass
class _FullBatch:
    """The step of a full batch: the plan that it reads, what it does with that, its graph once there is one."""

    plan: EpochPlan
    work: Work
    warm_ups: int = 0
    replay: Work | None = None


class GraphStep:
    """One graph for full batches. The odd last batch of an epoch, one step of hundreds, runs as it is."""

    def __init__(self, state: TrainState, feed: Feed, backend: Backend) -> None:
        self._state, self._feed, self._backend = state, feed, backend
        self._plain = EagerStep(state, feed)
        self._full: _FullBatch | None = None
        self._failed = False

    def __call__(self, part: Slice, rate: float) -> str | None:
        """Take the step."""
        size = part.stop - part.start
        if self._failed or size < self._state.trial.settings.batch_size:
            self._plain(part, rate)
            return None
        plan = self._feed.batch_plan(part)
        if self._full is None:
            self._full = _full_batch(self._state, self._feed, plan.copy())
        for held, fresh in zip(self._full.plan.drawn(), plan.drawn(), strict=True):
            held.copy_(fresh)
        self._state.set_rate(rate)
        failure = self._run(self._full)
        if failure is None:
            self._state.count(size)
            return None
        # Nothing of the step was done yet. First goes all that the capture took: the plain step may need the memory.
        self._full, self._failed = None, True
        self._state.optimizer.zero_grad()
        self._backend.recover()
        self._plain(part, rate)
        return failure

    def _run(self, full: _FullBatch) -> str | None:
        """Do the step; where its graph can't be had, do nothing and return why."""
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


def _full_batch(state: TrainState, feed: Feed, plan: EpochPlan) -> _FullBatch:
    # Work that knew its GraphStep would be a reference cycle, whose memory stays until Python looks for such.
    return _FullBatch(plan, lambda: state.compute(*feed.planned_batch(plan)))


def _reason(error: RuntimeError) -> str:
    """Why a capture failed: its end raises anew, and says only that something failed before it.

    A name for the error where it was caught would be a reference cycle, through its traceback.
    """
    cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
    return f"{type(cause).__name__}: {cause}"


class CudaGraphs:
    """The real backend. Source: docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs"."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Libraries keep a workspace for every stream that they have seen, so all trials of a process share one.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._newest: Callable[[], torch.cuda.CUDAGraph | None] = lambda: None

    def warm(self, work: Work) -> None:
        """Do the work on the stream that captures, where libraries then have their workspaces."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work()
        here.wait_stream(self._stream)

    def capture(self, work: Work) -> Work:
        """Record the work. Random numbers go on from where they are at each replay: torch knows its own generator."""
        graph, sharing = torch.cuda.CUDAGraph(), self._newest()
        # Graphs that live at once share their memory: none keeps a value in it from one replay to the next. A pool
        # whose graphs are all gone is dead, and torch asserts that nobody captures into it.
        pool = None if sharing is None else sharing.pool()
        with torch.cuda.graph(graph, pool=pool, stream=self._stream):
            work()
        self._newest = weakref.ref(graph)
        return graph.replay

    def recover(self) -> None:
        """Empty the cache, and take the generator out of the capture, in which older releases of torch leave it."""
        generator = torch.cuda.default_generators[self._device.index]
        generator.graphsafe_set_state(generator.clone_state())
        free_memory(self._device)


@cache
def cuda_graphs(device: torch.device) -> CudaGraphs:
    """Return the one backend of this process for a GPU."""
    return CudaGraphs(device)


def choose_step(state: TrainState, feed: Feed, device: torch.device, graphs: bool = True) -> Step:
    """Graphs on a GPU unless they are switched off, operation by operation elsewhere."""
    if graphs and device.type == "cuda":
        return GraphStep(state, feed, cuda_graphs(device))
    return EagerStep(state, feed)
