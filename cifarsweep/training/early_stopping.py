"""Follows the validation accuracy: the best one, its weights if they are kept, and when it stopped rising."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cifarsweep.spec import metrics
from cifarsweep.spec.settings import Settings


class EarlyStopping:
    """The evaluations of a trial so far. It does nothing if neither `keep_best` nor `early_stop` is on."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._keep = settings.early_stop, settings.keep_best
        self.on = self._keep or bool(self._settings.patience)
        self._best, self._best_step = -1.0, 0
        #: the accuracy to beat by more than `min_delta`, and the number of evaluations that did not
        self._threshold, self._bad_evaluations = -1.0, 0
        self._stopped_at = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def stopped(self) -> bool:
        return self._stopped_at > 0

    @property
    def weights(self) -> Mapping[str, Tensor] | None:
        """The weights of the best evaluation; None before the first one, and where they are not kept."""
        return self._weights

    def update(self, accuracy: float, step: int, model: nn.Module, *, last: bool) -> None:
        """Record an evaluation at `step`. Ties keep the earlier step. `last` disables stopping."""
        if not self.on:
            return
        if accuracy > self._best:
            self._best, self._best_step = accuracy, step
            if self._keep:
                self._weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if accuracy > self._threshold + self._settings.min_delta or self._threshold < 0:
            self._threshold, self._bad_evaluations = accuracy, 0
        else:
            self._bad_evaluations += 1
        if self._settings.patience and self._bad_evaluations >= self._settings.patience and not last:
            self._stopped_at = step

    def final(self) -> dict[str, float]:
        """Return the metrics for the result of the trial; none before the first evaluation."""
        if not self.on or self._best < 0:
            return {}
        found = {metrics.BEST_ACCURACY: self._best, metrics.BEST_STEP: float(self._best_step)}
        return found | ({metrics.EARLY_STOPPED_AT: float(self._stopped_at)} if self.stopped else {})

    def state(self) -> dict[str, Any]:
        """Return the contents for a checkpoint; `weights` is the state_dict of the best evaluation, or None."""
        return {
            "best": self._best,
            "best_step": self._best_step,
            "mark": self._threshold,
            "stale": self._bad_evaluations,
            "stopped_at": self._stopped_at,
            "weights": self._weights,
        }

    def restore(self, saved: Mapping[str, Any], device: torch.device) -> None:
        self._best, self._best_step = saved["best"], saved["best_step"]
        self._threshold, self._bad_evaluations = saved["mark"], saved["stale"]
        self._stopped_at = saved["stopped_at"]
        weights = saved["weights"]
        self._weights = None if weights is None else {name: tensor.to(device) for name, tensor in weights.items()}
