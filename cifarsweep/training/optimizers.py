"""torch's own optimizers in their fused form, what they decay, and how they are given a learning rate.

They are used without torch's compiler, which they would import at their first use: 2 to 3 seconds for nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW, Optimizer

from cifarsweep.models.compiler import skip_compiler_import
from cifarsweep.spec import settings as spec
from cifarsweep.training import own_optimizers


def make_optimizer(settings: spec.AnyOptimizer, parameters: Iterable[Parameter]) -> Optimizer:
    """Return the optimizer of `parameters`; weight decay is as torch.optim defines it.

    It applies to all of them or, if `decay_norms` is off, to those with more than one axis: scales, shifts and biases
    have one. On a GPU the rate is a tensor, so that a change costs no synchronisation and reaches captured graphs.
    """
    skip_compiler_import(*_GUARDED)
    held = list(parameters)
    device = held[0].device
    rate = torch.tensor(settings.lr, device=device) if device.type == "cuda" else settings.lr
    captured = device.type == "cuda"  # or a graph would refuse to hold it
    if isinstance(settings, spec.OwnOptimizer):
        return own_optimizers.make(settings, held, captured)
    groups = _groups(settings, held)
    match settings:
        case spec.Muon() | spec.Lion():
            return own_optimizers.of_timm(settings, groups, captured)
        case spec.Optimizer(name="sgd"):
            return SGD(groups, lr=rate, momentum=settings.momentum, nesterov=settings.nesterov, fused=True)
    family = AdamW if settings.name == "adamw" else Adam
    betas, amsgrad = (settings.beta1, settings.beta2), settings.amsgrad
    return family(groups, lr=rate, betas=betas, amsgrad=amsgrad, fused=True, capturable=captured)


def is_capturable(optimizer: Optimizer) -> bool:
    """Return whether a CUDA graph may hold the step: its rate and its counts are tensors.

    A graph would keep a number of Python's as it was in the first step, and nobody would notice.
    """
    return (
        isinstance(optimizer, SGD | Adam)
        and bool(optimizer.defaults.get("fused"))
        or bool(optimizer.defaults.get("capturable"))
    )


def _groups(settings: spec.Optimizer | spec.Muon | spec.Lion, held: Sequence[Parameter]) -> list[dict[str, Any]]:
    if settings.decay_norms or not settings.weight_decay:
        return [{"params": held, "weight_decay": settings.weight_decay}]
    decayed, spared = [p for p in held if p.ndim > 1], [p for p in held if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def clip_gradients(settings: spec.AnyOptimizer, parameters: Iterable[Parameter]) -> None:
    """Scale all gradients together down to the norm `clip`, if it is set, without a wait for the device."""
    if settings.clip is not None:
        clip_grad_norm_(parameters, settings.clip)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


#: The methods that torch.optim excludes from compiled code when they are first called.
_GUARDED = (Optimizer.add_param_group, Optimizer.state_dict, Optimizer.load_state_dict, Optimizer.zero_grad)


def plain_step(optimizer: Optimizer) -> Callable[[], None]:
    """Return `optimizer.step` in a plain `no_grad`, without its wrappers for profilers and the compiler."""
    plain = inspect.unwrap(type(optimizer).step)

    def step() -> None:
        with torch.no_grad():
            plain(optimizer)

    return step
