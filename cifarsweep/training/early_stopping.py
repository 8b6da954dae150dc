"""Watches the validation accuracy: where it was best, whether those weights are kept, and when it stopped rising."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cifarsweep.spec import metrics
from cifarsweep.spec.settings import Settings


class Watch:
    """Fed with every evaluation of a trial. It costs nothing where neither `keep_best` nor `early_stop` is on."""

    def __init__(self, settings: Settings) -> None:
        self._rule, self._keep = settings.early_stop, settings.keep_best
        #: whether anybody wants to know
        self.on = self._keep or bool(self._rule.patience)
        self._best, self._best_step = -1.0, 0
        #: the accuracy that has to be beaten by more than `min_delta`, and the evaluations since it was
        self._mark, self._stale = -1.0, 0
        self._stopped_at = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def stopped(self) -> bool:
        """Whether training is to end early."""
        return self._stopped_at > 0

    def see(self, accuracy: float, step: int, model: nn.Module, *, last: bool) -> None:
        """Take note of an evaluation after `step` steps, the `last` of the budget. Among equals the first is best."""
        if not self.on:
            return
        if accuracy > self._best:
            self._best, self._best_step = accuracy, step
            if self._keep:
                self._weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if accuracy > self._mark + self._rule.min_delta or self._mark < 0:
            self._mark, self._stale = accuracy, 0
        else:
            self._stale += 1
        if self._rule.patience and self._stale >= self._rule.patience and not last:
            self._stopped_at = step

    def final(self) -> dict[str, float]:
        """Return what a result says of it; nothing before the first evaluation."""
        if not self.on or self._best < 0:
            return {}
        found = {metrics.BEST_ACCURACY: self._best, metrics.BEST_STEP: float(self._best_step)}
        return found | ({metrics.EARLY_STOPPED_AT: float(self._stopped_at)} if self.stopped else {})

    def state(self) -> dict[str, Any]:
        """Return everything for a checkpoint; `weights` are those of the best evaluation, a state_dict or None."""
        return {
            "best": self._best,
            "best_step": self._best_step,
            "mark": self._mark,
            "stale": self._stale,
            "stopped_at": self._stopped_at,
            "weights": self._weights,
        }

    def restore(self, saved: Mapping[str, Any], device: torch.device) -> None:
        """Take everything of a checkpoint."""
        self._best, self._best_step = saved["best"], saved["best_step"]
        self._mark, self._stale = saved["mark"], saved["stale"]
        self._stopped_at = saved["stopped_at"]
        weights = saved["weights"]
        self._weights = None if weights is None else {name: tensor.to(device) for name, tensor in weights.items()}
