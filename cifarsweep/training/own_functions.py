"""Losses, augmentations and metrics: those of the user's own code, and what is measured beside loss and accuracy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cifarsweep.errors import SpecError
from cifarsweep.own_code import OwnCodeError, load, user_line
from cifarsweep.own_parts import checked_arguments
from cifarsweep.spec.metrics import CALIBRATION, TOP5
from cifarsweep.spec.own import Metrics, OwnPart, own_name
from cifarsweep.spec.settings import OwnLoss, Settings

#: Bins of the expected calibration error.
_BINS = 15


def make_loss(settings: Settings, classes: int, device: torch.device) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return a loss of the user's own, of logits (N, classes) and labels; None for cross entropy.

    It gets `classes` and `label_smoothing` where it has them. Raises SpecError for what it is not or does not accept.
    """
    if not isinstance(settings.loss, OwnLoss):
        return None
    smoothing = settings.augment.label_smoothing
    known = {"classes": classes, "label_smoothing": smoothing}
    made = _made("loss", settings.loss, known, positional=2, device=device)
    if smoothing and "label_smoothing" not in made.accepted:
        raise SpecError(f"augment.label_smoothing: {settings.loss.name} has no such argument; leave it out")
    return made.call


def make_augmentation(settings: Settings, device: torch.device) -> Callable[[Tensor], Tensor] | None:
    """Return the augmentation of the user's own, of normalised images (N, channels, side, side), if there is one."""
    own = settings.augment.own
    return None if own is None else torch.no_grad()(_made("augment.own", own, {}, positional=1, device=device).call)


class _Made:
    """A function of the user's own with its keyword arguments, and the names that it accepts."""

    def __init__(self, call: Callable[..., Any], accepted: Sequence[str]) -> None:
        self.call, self.accepted = call, accepted


def _made(table: str, settings: OwnPart, known: dict[str, Any], positional: int, device: torch.device) -> _Made:
    part = load(table, settings.name, settings.code)
    if not callable(part):
        raise OwnCodeError(f"{table}.name: {settings.name} must be a function, or a class whose objects can be called")
    is_class = inspect.isclass(part)
    arguments = checked_arguments(part, settings, table, known, positional=0 if is_class else positional)
    accepted = list(inspect.signature(part).parameters)
    if not is_class:
        return _Made(partial(part, **arguments), accepted)
    try:
        made = part(**arguments)
    except Exception as error:
        raise OwnCodeError(f"{table}: {settings.name} can't be made: {user_line(error)}") from error
    if isinstance(made, nn.Module):
        if any(parameter.requires_grad for parameter in made.parameters()):
            raise OwnCodeError(
                f"{table}: {settings.name} has parameters, which nothing trains; the network may have them"
            )
        made.to(device)
    if not callable(made):
        raise OwnCodeError(f"{table}.name: objects of {settings.name} can't be called")
    return _Made(made, accepted)


class Measures:
    """The logits of one evaluation, kept on the device, and what is measured on them. Free where nothing is on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch by its logits (N, classes) and labels (N,)."""
        if self._metrics.names:
            self._logits.append(logits.detach().float())
            self._labels.append(labels)

    @torch.no_grad()
    def read(self) -> dict[str, float]:
        """Return every metric by its name. This waits for the device."""
        if not self._logits:
            return {}
        logits, labels = torch.cat(self._logits), torch.cat(self._labels)
        found = {TOP5: top5_accuracy(logits, labels)} if self._metrics.top5 else {}
        found |= {CALIBRATION: calibration_error(logits, labels)} if self._metrics.ece else {}
        for reference in self._metrics.own:
            found[own_name(reference)] = own_metric(reference, self._metrics, logits, labels)
        return found


def top5_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the part of images with fewer than five classes that are likelier than their own."""
    likelier = (logits > logits.gather(1, labels.unsqueeze(1))).sum(1)
    return float((likelier < 5).double().mean())


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error over 15 equal bins of confidence, the upper end in each (Guo et al. 2017).

    Equation 3 of https://arxiv.org/abs/1706.04599, in float64 on the host: a GPU adds in no fixed order.
    """
    confidence, guess = (each.cpu() for each in logits.double().softmax(1).max(1))
    hits = (guess == labels.cpu()).double()
    bins = (confidence * _BINS).ceil().clamp(1, _BINS).long() - 1
    sums = [torch.bincount(bins, weights, _BINS) for weights in (hits, confidence)]
    return float((sums[0] - sums[1]).abs().sum() / len(hits))


def own_metric(reference: str, metrics: Metrics, logits: Tensor, labels: Tensor) -> float:
    """Return what a function of the user's own measures. Raises SpecError if that is no number."""
    codes = metrics.code.split("; ")
    of_package = next((code for code in codes if code.startswith(f"{reference.partition(':')[0]} ")), None)
    function = load("metrics", reference, of_package or next((code for code in codes if " " not in code), ""))
    value = function(logits, labels)
    one = isinstance(value, Tensor) and value.numel() == 1
    if not one and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise OwnCodeError(f"metrics.own: {reference} must return a number, not a {type(value).__name__}")
    return float(value)
