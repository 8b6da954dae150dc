"""One training step behind one small interface: run operation by operation, or replayed as one CUDA graph.

A graph holds the gather of the images, forward, loss, backward, optimizer and the metric sums. It launches with one
call what costs Python hundreds, which is most of the time of a small network on a large GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cifarsweep.training.batches import Feed
from cifarsweep.training.budget import Slice
from cifarsweep.training.state import TrainState

#: Steps of each batch size that run as they are before one is captured. They are steps of the trial like any other, so
#: nothing has to be undone after them: they make the optimizer's state and let cuDNN and cuBLAS choose and allocate.
WARM_UPS = 3

Work = Callable[[], None]
#: Takes the step on the images of a slice at a learning rate; returns before a GPU is done with it.
Step = Callable[[Slice, float], None]


class Backend(Protocol):
    """What makes graphs."""

    def warm(self, work: Work) -> None:
        """Do the work as it will be captured."""

    def capture(self, work: Work) -> Work:
        """Record the work without doing it; return what does it, on the tensors of the recording."""


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
class _Captured:
    """The step of one batch size: the tensors that it reads, what it does with them, its graph once there is one."""

    inputs: tuple[Tensor, ...]
    work: Work
    warm_ups: int = 0
    replay: Work | None = None


class GraphStep:
    """One graph for each batch size: for most of an epoch, and for its odd last batch."""

    def __init__(self, state: TrainState, feed: Feed, backend: Backend) -> None:
        self._state, self._feed, self._backend = state, feed, backend
        self._by_size: dict[int, _Captured] = {}
        self._failed = False

    def __call__(self, part: Slice, rate: float) -> None:
        """Take the step."""
        size = part.stop - part.start
        self._state.set_rate(rate)
        captured = self._by_size.get(size) or self._begin(part)
        for held, fresh in zip(captured.inputs, self._feed.graph_inputs(part), strict=True):
            held.copy_(fresh)
        self._run(captured)
        self._state.count(size)

    def _begin(self, part: Slice) -> _Captured:
        inputs = tuple(tensor.clone() for tensor in self._feed.graph_inputs(part))

        def work() -> None:
            self._state.compute(*self._feed.batch_of(part.epoch, inputs))

        return self._by_size.setdefault(part.stop - part.start, _Captured(inputs, work))

    def _run(self, captured: _Captured) -> None:
        if captured.replay is None and captured.warm_ups >= WARM_UPS and not self._failed:
            captured.replay = self._captured(captured.work)
        if captured.replay is not None:
            captured.replay()
        else:
            self._backend.warm(captured.work)
            captured.warm_ups += 1

    def _captured(self, work: Work) -> Work | None:
        """The graph, or None where an operation of the network can't be captured: then all goes on as it is."""
        try:
            return self._backend.capture(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            warnings.warn(f"this network can't be captured as a CUDA graph and trains without: {error}", stacklevel=2)
            self._failed = True
            return None


class CudaGraphs:
    """The real backend, on the current GPU. Source: docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs"."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def warm(self, work: Work) -> None:
        """Do the work on the stream that captures, for libraries keep their workspaces by stream."""
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work()
        here.wait_stream(self._stream)

    def capture(self, work: Work) -> Work:
        """Record the work. Random numbers go on from where they are at each replay: torch knows its own generator."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            work()
        return graph.replay


def choose_step(state: TrainState, feed: Feed, device: torch.device, graphs: bool = True) -> Step:
    """Graphs on a GPU unless they are switched off, operation by operation elsewhere."""
    if graphs and device.type == "cuda":
        return GraphStep(state, feed, CudaGraphs())
    return EagerStep(state, feed)
