"""torch.optim without the compiler, which it would otherwise import at its first use: 2 to 3 seconds for nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch.optim import Optimizer

#: What torch.optim keeps out of compiled code, and asks the compiler for how when first called.
_GUARDED = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")


def spare_compiler() -> None:
    """Tell torch that these methods are kept out already; one that asks in another way just imports its compiler."""
    for name in _GUARDED:
        plain = inspect.unwrap(getattr(Optimizer, name))
        vars(plain).setdefault("__dynamo_disable", plain)


def stepper(optimizer: Optimizer) -> Callable[[], None]:
    """Return `optimizer.step` in a plain `no_grad`, without its wrappers for profilers and the compiler."""
    plain = inspect.unwrap(type(optimizer).step)

    def step() -> None:
        with torch.no_grad():
            plain(optimizer)

    return step
