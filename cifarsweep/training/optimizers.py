"""torch's own optimizers in their fused form, and how they are given a learning rate."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer

from cifarsweep.spec import settings as spec


def make_optimizer(settings: spec.Optimizer, parameters: Iterable[Parameter]) -> Optimizer:
    """Return the optimizer of `parameters`; weight decay applies to all of them, as torch.optim defines it.

    On a GPU the rate is a tensor there, so that a change costs no synchronisation and reaches captured graphs.
    """
    held = list(parameters)
    device = held[0].device
    rate = torch.tensor(settings.lr, device=device) if device.type == "cuda" else settings.lr
    if settings.name == "adamw":
        betas = (settings.beta1, settings.beta2)
        return AdamW(held, lr=rate, betas=betas, weight_decay=settings.weight_decay, fused=True)
    return SGD(
        held,
        lr=rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
