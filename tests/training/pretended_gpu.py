"""A pretended GPU on a CPU: tagged storages say what lies on `cuda:0`, and a CUDA graph is a tape of aten operations.

`with pretended_gpu() as gpu:` lets `Run(device="cuda:0")` train for real. What a GPU refuses raises: two devices in one
operation, an operation without a deterministic implementation where one is asked for and, while a graph is captured,
whatever waits for the device or copies from the host. A capture undoes what it did; a replay repeats the recorded
operations on the recorded tensors, so that all that Python decided in the capture is frozen, as on a GPU.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from cifarsweep.training import loop, state, step

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
#: Operations whose result decides on the host how it goes on.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "bincount", "equal", "repeat_interleave"}
#: Operations that wait for the GPU in torch 2.10 where they must be deterministic, because they sort first.
SORT_FIRST = {"index_put_", "index_put", "_unsafe_index_put", "scatter_add_", "scatter_add", "scatter_reduce"}
#: Operations of a GPU without a deterministic implementation (torch.use_deterministic_algorithms lists them).
NOT_DETERMINISTIC = {
    "_adaptive_avg_pool2d_backward",
    "_upsample_bilinear2d_aa_backward",
    "adaptive_max_pool2d_backward",
    "avg_pool3d_backward",
    "grid_sampler_2d_backward",
    "histc",
    "kthvalue",
    "median",
    "nll_loss2d_forward",
    "put_",
    "reflection_pad2d_backward",
    "replication_pad2d_backward",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
}


def tensors(tree: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        return [tree]
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    return [tensor for each in inner for tensor in tensors(each)]


def address(tensor: Tensor) -> int:
    """What tells one storage from another while both live."""
    return tensor.untyped_storage()._cdata


@dataclass
class Recording:
    """A capture: its operations with what they were given and returned, and what they overwrote."""

    tape: list[tuple[Any, Any, Any, Any]] = field(default_factory=list)
    overwritten: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    made: set[int] = field(default_factory=set)


class PretendedGpu:
    """Knows what lies on the device, and is the backend of GraphStep. `captures` counts graphs."""

    def __init__(self) -> None:
        self.captures = 0
        self.recording: Recording | None = None
        #: How many calls of torch with tensors of this device are under way.
        self.depth = 0
        self.quiet = False
        self._tags: dict[int, StorageWeakRef] = {}

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor lies on this device."""
        tag = self._tags.get(address(tensor))
        return tag is not None and not tag.expired()

    def put(self, tree: Any) -> Any:
        """Let all tensors of a tree lie on this device."""
        for tensor in tensors(tree):
            self._tags[address(tensor)] = StorageWeakRef(tensor.untyped_storage())
        return tree

    def count(self) -> int:
        """How many storages lie on this device."""
        return sum(not tag.expired() for tag in self._tags.values())

    def refuse_in_capture(self, why: str) -> None:
        """Raise what a capture raises; do nothing outside of one."""
        if self.recording is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {why}")

    def warm(self, work: Callable[[], None]) -> None:
        """Do the work."""
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the work and undo it."""
        recording = self.recording = Recording()
        generator = torch.get_rng_state()
        try:
            work()
        finally:
            self.recording = None
            with self.silence():
                for tensor, before in reversed(recording.overwritten):
                    tensor.copy_(before)
            torch.set_rng_state(generator)
        self.captures += 1
        return lambda: self.replay(recording.tape)

    def recover(self) -> None:
        """Nothing is left behind by a capture that failed."""

    def replay(self, tape: list[tuple[Any, Any, Any, Any]]) -> None:
        """Repeat the operations, with results where they were."""
        with self.silence():
            for operation, given, options, results in tape:
                again = tensors(operation(*given, **options))
                for old, new in zip(tensors(results), again, strict=True):
                    if old.data_ptr() != new.data_ptr() and "empty" not in operation.__name__:
                        old.copy_(new)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Do what the device itself does: nothing is checked or recorded."""
        before, self.quiet = self.quiet, True
        try:
            with torch.no_grad():
                yield
        finally:
            self.quiet = before


class Calls(TorchFunctionMode):
    """What Python asks of torch: where tensors are, where they are made and moved to."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpu, kwargs, name = self._gpu, dict(kwargs or {}), getattr(func, "__name__", "")
        if getattr(func, "__self__", None) is Tensor.device:
            return CUDA if gpu.holds(args[0]) else CPU
        if name in ("device", "_parse_to"):
            return func(*args, **kwargs)
        if name in ("to", "cpu"):
            return self._moved(args, kwargs, name)
        if name == "numpy" and gpu.holds(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if any(map(_is_cuda, (*args, *kwargs.values()))):
            if name == "tensor":
                gpu.refuse_in_capture("a tensor made of Python's numbers is a copy from the host")
            here = [CPU if _is_cuda(value) else value for value in args]
            return gpu.put(func(*here, **{key: CPU if _is_cuda(value) else value for key, value in kwargs.items()}))
        deeper = any(map(gpu.holds, tensors((args, kwargs))))
        gpu.depth += deeper
        try:
            return func(*args, **kwargs)
        finally:
            gpu.depth -= deeper

    def _moved(self, args: Any, kwargs: Any, name: str) -> Tensor:
        gpu, tensor, copy = self._gpu, args[0], kwargs.pop("copy", False)
        goal, dtype, _, layout = (CPU, None, 0, None) if name == "cpu" else torch._C._nn._parse_to(*args[1:], **kwargs)
        if name == "to" and len(args) > 1 and isinstance(args[1], Tensor):
            goal = CUDA if gpu.holds(args[1]) else CPU
        crosses = goal is not None and (goal.type == "cuda") != gpu.holds(tensor)
        options = {"copy": crosses or copy} | ({"memory_format": layout} if layout is not None else {})
        if not crosses:
            return Tensor.to(tensor, dtype or tensor.dtype, **options)
        gpu.refuse_in_capture(f"a copy of {tuple(tensor.shape)} to {goal.type}, and memory is not pinned")
        with gpu.silence():
            found = Tensor.to(tensor, dtype or tensor.dtype, **options)
        return gpu.put(found) if goal.type == "cuda" else found


def _is_cuda(value: Any) -> bool:
    return isinstance(value, str | torch.device) and str(value).startswith("cuda")


class Operations(TorchDispatchMode):
    """What torch does, the backward pass included."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpu, kwargs = self._gpu, kwargs or {}
        if gpu.quiet:
            return func(*args, **kwargs)
        given = tensors((args, kwargs))
        on_device = any(map(gpu.holds, given)) or (not given and gpu.depth > 0)
        if on_device:
            self._check(func, args, given)
        if gpu.recording is not None:
            _keep(gpu.recording, func, args, kwargs)
        call = (func, *_aliases((args, kwargs))) if gpu.recording is not None else None
        results = func(*args, **kwargs)
        if on_device:
            gpu.put(results)
        if gpu.recording is not None and call is not None and not _is_view(func):
            gpu.recording.tape.append((*call, _aliases(results)))
            gpu.recording.made |= set(map(address, tensors(results))) - set(map(address, given))
        return results

    def _check(self, func: Any, args: Any, given: list[Tensor]) -> None:
        """Raise what a GPU would raise."""
        gpu, name = self._gpu, func._schema.name.removeprefix("aten::")
        if name == "copy_" and not all(map(gpu.holds, given)):
            gpu.refuse_in_capture("a copy between host and device, and memory is not pinned")
        elif any(tensor.dim() and not gpu.holds(tensor) for tensor in given):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, cpu and cuda:0")
        masks = args[1] if name in ("index", "index_put_") else ()
        if name in WAITS or any(mask is not None and mask.dtype == torch.bool for mask in masks):
            gpu.refuse_in_capture(f"{name} waits for the device")
        exact = torch.get_deterministic_debug_mode() == 2
        if name in SORT_FIRST and exact:
            gpu.refuse_in_capture(f"{name} waits for the device where it must be deterministic")
        if name in NOT_DETERMINISTIC and exact:
            raise RuntimeError(f"{name} does not have a deterministic implementation, but you set it to be asked for")


def _aliases(tree: Any) -> Any:
    """The same memory in tensors of their own, whose shape no later operation changes in place."""
    return tree_map_only(Tensor, Tensor.detach, tree)


def _is_view(func: Any) -> bool:
    """Whether it computes nothing: memory that was there is given another shape."""
    aliases = [each.alias_info for each in func._schema.returns if each.alias_info]
    return torch.Tag.inplace_view in func.tags or any(not alias.is_write for alias in aliases)


def _keep(recording: Recording, func: Any, args: Any, kwargs: Any) -> None:
    """Remember what the operation is about to overwrite, where the capture has not made it itself."""
    for place, argument in enumerate(func._schema.arguments):
        writes = argument.alias_info is not None and argument.alias_info.is_write
        if not (writes or argument.name.startswith("running_")):  # batch norm does not say that it writes these
            continue
        value = args[place] if place < len(args) and not argument.kwarg_only else kwargs.get(argument.name)
        fresh = [tensor for tensor in tensors(value) if address(tensor) not in recording.made]
        recording.overwritten += [(tensor.detach(), tensor.detach().clone()) for tensor in fresh]


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Let torch find one GPU, `cuda:0`, for the length of the block."""
    gpu, grouping = PretendedGpu(), "_group_tensors_by_device_and_dtype"
    with ExitStack() as stack:
        for owner, wrap in ((Optimizer, staticmethod), (clip_grad, lambda function: function)):
            stack.enter_context(mock.patch.object(owner, grouping, wrap(_grouped_on_cuda(getattr(owner, grouping)))))
        for owner, name, fake in (
            (torch.cuda, "device_count", lambda: 1),
            (torch.cuda, "synchronize", lambda *_: None),
            (torch.cuda, "get_rng_state", lambda *_: torch.get_rng_state()),
            (torch.cuda, "set_rng_state", lambda *_: None),
            (loop, "autocast", autocast),
            (state, "autocast", autocast),
            (step, "cuda_graphs", lambda _: gpu),
        ):
            stack.enter_context(mock.patch.object(owner, name, fake))
        stack.enter_context(Operations(gpu))
        stack.enter_context(Calls(gpu))
        yield gpu


def _grouped_on_cuda(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Fused optimizers and clipping group tensors by the device that C++ sees; they all lie on the GPU here."""
    return lambda *args, **kwargs: {(CUDA, key[1]): group for key, group in plain(*args, **kwargs).items()}


def autocast(settings: Any, device: torch.device) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, settings.precision != "float32")
