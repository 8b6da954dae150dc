"""Optimizers that are not our own choice of torch's: those of timm, any of torch.optim, and of the user's own code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import LBFGS, Optimizer, SparseAdam

from cifarsweep.errors import SpecError, install_command
from cifarsweep.own_code import OwnCodeError, load, user_line
from cifarsweep.own_parts import checked_arguments
from cifarsweep.spec import settings as spec
from cifarsweep.spec.validation import nearest

_TORCH = "torch.optim"
#: These need a function that computes the loss again, or gradients that no network here has.
_UNFIT = (Optimizer, LBFGS, SparseAdam)


def of_timm(settings: spec.Muon | spec.Lion, groups: list[dict[str, Any]], captured: bool) -> Optimizer:
    """Return an optimizer of timm. Raises SpecError without the package."""
    try:
        timm: Any = importlib.import_module("timm.optim")
    except ModuleNotFoundError as error:
        if error.name not in ("timm", "timm.optim"):
            raise
        wanted = f'optimizer.name = "{settings.name}" needs the package timm'
        raise SpecError(f"{wanted}; install it with: {install_command('timm')}") from None
    betas = settings.beta1, settings.beta2
    if isinstance(settings, spec.Lion):
        lion: Optimizer = timm.Lion(groups, lr=settings.lr, betas=betas, foreach=False)
        return lion
    muon: Optimizer = timm.Muon(
        groups,
        lr=_rate(settings.lr, groups[0]["params"], captured),
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        betas=betas,
        capturable=captured,
    )
    return muon


def make(settings: spec.OwnOptimizer, held: Sequence[Parameter], captured: bool) -> Optimizer:
    """Return the optimizer of the user's own code or of torch.optim, on these parameters.

    On a GPU it gets a tensor as its rate and `capturable`, where it has that; else its steps are not captured. Raises
    OwnCodeError for what it is not or does not accept.
    """
    part = _torch_class(settings.name) if settings.name.startswith(f"{_TORCH}:") else _own_class(settings)
    accepted = inspect.signature(part).parameters
    if "lr" not in accepted:
        raise OwnCodeError(f"optimizer.name: {settings.name} must have an argument lr, the learning rate")
    capturable = captured and "capturable" in accepted and settings.arguments.get("capturable", True) is True
    known = {"lr": _rate(settings.lr, held, capturable)} | ({"capturable": True} if capturable else {})
    given = spec.OwnOptimizer.model_validate(settings.model_dump(exclude={"capturable"} if capturable else set()))
    arguments = checked_arguments(part, given, "optimizer", known, positional=1)
    try:
        made: Optimizer = part(held, **arguments)
    except Exception as error:
        raise OwnCodeError(f"optimizer: {settings.name} can't be made: {user_line(error)}") from error
    return made


def _rate(rate: float, held: Sequence[Parameter], captured: bool) -> Any:
    return torch.tensor(rate, device=held[0].device) if captured else rate


def _torch_class(reference: str) -> type[Optimizer]:
    name = reference.partition(":")[2]
    known = {
        each: found
        for each, found in vars(torch.optim).items()
        if inspect.isclass(found) and issubclass(found, Optimizer) and found not in _UNFIT
    }
    if name not in known:
        raise SpecError(
            f"optimizer.name: torch.optim has no {name!r} for this loop.{nearest(name, known)} It has: "
            f"{', '.join(sorted(known))}."
        )
    return known[name]


def _own_class(settings: spec.OwnOptimizer) -> Any:
    part = load("optimizer", settings.name, settings.code)
    if not (inspect.isclass(part) and issubclass(part, Optimizer)):
        raise OwnCodeError(f"optimizer.name: {settings.name} must be a class that inherits torch.optim.Optimizer")
    return part
