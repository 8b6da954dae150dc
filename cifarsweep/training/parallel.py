"""Several processes that train one trial: each takes its part of every batch, and all of them take the same steps.

Every process runs the same program. What depends on time, or on what is outside of the training, the first process
decides, the leader, and the others follow (`Team.agree`). Sums over the processes are taken in the order of their
ranks: an all-reduce of a library may choose another order for another size, topology or version, and with it other
bits. For the same reason this is no `DistributedDataParallel`, which sorts its buckets anew after the first step of
each attempt.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _NormBase

from cifarsweep.errors import DeviceError
from cifarsweep.training import serialization

AnyTensor = TypeVar("AnyTensor", bound=Tensor)
#: How long one process waits for another. What ends early is found by its pipe, long before; a disk may be slow.
_PATIENCE = timedelta(days=7)


class TeamBroken(Exception):
    """Another process of the team is gone, which is what has to be told, and not this."""


class Team:
    """One process of `size` that train a trial together.

    `agree` is how a decision of the leader reaches all: the leader gets its own, the others get the leader's.
    """

    def __init__(self, rank: int, size: int, device: torch.device, agree: Callable[[bool], bool]) -> None:
        self.rank, self.size, self.device, self.agree = rank, size, device, agree

    @classmethod
    def join(
        cls, rank: int, size: int, device: torch.device, agree: Callable[[bool], bool], meeting_point: Path
    ) -> Team:
        """Wait until all processes are here: they meet in a file, and then by the loopback device.

        The meeting point may be removed afterwards.
        """
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, _loopback())
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        team = cls(rank, size, device, agree)
        with team._together():
            store = dist.FileStore(str(meeting_point), size)  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
        # A library connects at its first operation; once both have, nobody needs the file.
        team.total(torch.zeros(1, device=device))
        team.total(torch.zeros(1))
        return team

    def leave(self) -> None:
        """Close the connections; all processes do."""
        with self._together():
            dist.destroy_process_group()

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def part(self, images: int) -> tuple[int, int]:
        """Return which images of a batch of so many are this process's: from the first to before the second."""
        return images * self.rank // self.size, images * (self.rank + 1) // self.size

    def gather(self, values: Tensor) -> Tensor:
        """Return the values of all processes, equal in shape, by rank: (size, ...)."""
        found = values.new_empty((self.size * values.numel(),))
        with self._together():
            dist.all_gather_into_tensor(found, values.contiguous().view(-1))
        return found.view(self.size, *values.shape)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, the same bits in each."""
        parts = self.gather(values)
        for each in parts[1:]:
            parts[0] += each
        return parts[0]

    def spread(self, payload: bytes | None) -> bytes | None:
        """Return the leader's bytes in every process."""
        size = torch.tensor([-1 if payload is None else len(payload)])
        self._from_leader(size)
        if int(size) < 0:
            return None
        contents = torch.empty(int(size), dtype=torch.uint8)
        if self.leads and payload:
            contents.copy_(torch.frombuffer(bytearray(payload), dtype=torch.uint8))
        self._from_leader(contents)
        return contents.numpy().tobytes()

    def collect(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the tensors and plain values of all processes by rank."""
        payload = torch.frombuffer(bytearray(serialization.pack(state)), dtype=torch.uint8)
        sizes = self.gather(torch.tensor(len(payload))).tolist()
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(payload)] = payload
        found = self.gather(padded)
        return [serialization.unpack(row[:size].numpy().tobytes()) for row, size in zip(found, sizes, strict=True)]

    def share_weights(self, model: nn.Module) -> None:
        """Give all processes the leader's parameters and buffers."""
        self._share([*(each.detach() for each in model.parameters()), *model.buffers()])

    def share_buffers(self, model: nn.Module, *, norms: bool) -> None:
        """Give all processes the leader's buffers. Without `norms` those of batch norms stay, which no step reads."""
        modules = (module for module in model.modules() if norms or not _is_known_norm(module))
        self._share([buffer for module in modules for buffer in module.buffers(recurse=False)])

    def add_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Let every parameter have the sum of its gradients; without one in any process it keeps none."""
        for group in _by_dtype(parameters):
            self._add_gradients(group)

    def check_equal(self, model: nn.Module, step: int) -> None:
        """Raise DeviceError if the parameters are not the same bits in all processes."""
        digest = bytes.fromhex(serialization.weights_sha256(dict(model.named_parameters())))
        found = self.gather(torch.frombuffer(bytearray(digest), dtype=torch.uint8))
        other = [rank for rank in range(self.size) if not torch.equal(found[rank], found[0])]
        if other:
            raise DeviceError(
                f"device {other[0]} of this trial's {self.size} has other weights than device 0 after step {step}: the "
                "devices of a trial must be of one kind, and one of these computes something else"
            )

    @torch.no_grad()
    def _add_gradients(self, parameters: Sequence[Parameter]) -> None:
        grads = [parameter.grad for parameter in parameters]
        here = [grad is not None for grad in grads]
        first = parameters[0]
        whole = [
            first.new_zeros(p.numel()) if g is None else g.reshape(-1) for p, g in zip(parameters, grads, strict=True)
        ]
        sizes = [len(each) for each in whole]
        # Which of them are there goes along, as numbers: a gradient may be there in some processes only.
        there = torch.tensor(here, dtype=first.dtype, device=first.device)
        padding = first.new_zeros(-(sum(sizes) + len(there)) % self.size)
        vector = self._summed(torch.cat([*whole, there, padding]))
        *sums, counts, _ = torch.split(vector, [*sizes, len(there), len(padding)])
        present = here if all(here) else counts.bool().tolist()  # only this waits for a GPU
        for parameter, total, given in zip(parameters, sums, present, strict=True):
            if given:
                grad = torch.empty_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = grad.copy_(total.view(parameter.shape))

    def _summed(self, vector: Tensor) -> Tensor:
        """Return the sum over all processes of a vector whose length they can share."""
        with self._together():
            if self.size == 2:  # of two numbers there is one sum
                dist.all_reduce(vector)
                return vector
            received = torch.empty_like(vector)
            dist.all_to_all_single(received, vector)
            parts = received.view(self.size, -1)
            for each in parts[1:]:
                parts[0] += each
            dist.all_gather_into_tensor(vector, parts[0])
            return vector

    @torch.no_grad()
    def _share(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        whole = [each.contiguous().view(-1).view(torch.uint8) for each in tensors]
        vector = torch.cat(whole)
        self._from_leader(vector)
        for each, new in zip(tensors, torch.split(vector, [len(part) for part in whole]), strict=True):
            each.copy_(new.view(each.dtype).view(each.shape))

    def _from_leader(self, values: Tensor) -> None:
        with self._together():
            dist.broadcast(values, 0)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Raise TeamBroken for the errors of a connection, after which no other process can be reached."""
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
                raise
            raise TeamBroken(f"process {self.rank} of {self.size} lost the others: {error}") from error


def _is_known_norm(module: nn.Module) -> bool:
    """Whether no step reads the module's buffers. One of the user's own that inherits from batch norm may."""
    return isinstance(module, _NormBase) and type(module).__module__.partition(".")[0] in ("torch", "timm")


def _by_dtype(tensors: Sequence[AnyTensor]) -> Iterator[list[AnyTensor]]:
    """Yield the tensors of each type together, in their order."""
    for _, group in groupby(sorted(tensors, key=_dtype), _dtype):
        yield list(group)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype)


def _loopback() -> str:
    """Return the name of the network device that leads to this machine alone."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
