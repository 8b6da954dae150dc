"""Finds networks that a GPU can't train to the same bits each time, without a GPU: on the meta device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cifarsweep.models.compiler import skip_compiler_import
from cifarsweep.models.registry import build
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.settings import Model, Timm

#: Operations of images that raise on a GPU under `determinism = "exact"`, by their names in torch's library.
#: Source: the docstring of torch.use_deterministic_algorithms.
RAISE_ON_GPU = frozenset(
    {
        *("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward"),
        *("avg_pool3d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
        *("max_unpool2d", "max_unpool3d", "grid_sampler_2d_backward", "grid_sampler_3d_backward"),
        *("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
        *("upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward"),
        *("upsample_trilinear3d_backward", "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward"),
    }
)


#: Operations whose result decides on the host how a step goes on, so that no CUDA graph can hold it.
WAIT_FOR_HOST = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount", "equal"})


class OperationNames(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the name of every operation, also of the backward pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.seen.add(func._schema.name.partition("::")[2])
        return func(*args, **(kwargs or {}))


skip_compiler_import(OperationNames.__torch_dispatch__)


@lru_cache(maxsize=64)
def inexact_on_gpu(settings: Model, classes: int, shape: ImageShape = CIFAR) -> tuple[str, ...]:
    """Return the operations of a training step that raise on a GPU under `determinism = "exact"`, as far as known."""
    if isinstance(settings, Timm):
        settings = settings.model_copy(update={"pretrained": False})
    with torch.device("meta"):
        model = build(settings, classes, shape=shape).train()
        images = torch.empty(2, shape.channels, shape.side, shape.side)
    # If the meta device can't run a network, training will report the problem.
    with contextlib.suppress(RuntimeError, NotImplementedError, ValueError), _exact(), OperationNames() as names:
        model(images).sum().backward()
        return tuple(sorted(names.seen & RAISE_ON_GPU))
    return ()


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Switch on exact determinism, under which torch replaces some operations."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
