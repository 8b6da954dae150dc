"""Images of a run, on its device, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cifarsweep.data import augment
from cifarsweep.data.augment import EpochPlan
from cifarsweep.data.dataset import Split
from cifarsweep.spec.settings import Settings
from cifarsweep.training.budget import Slice

#: A constant: the last bits of a validation loss depend on it.
EVAL_BATCH = 500


class Feed:
    """The images of a run. They move to the device once; a plan of order and augmentation follows every epoch."""

    def __init__(self, split: Split, settings: Settings, seed: int, device: torch.device) -> None:
        self._split = split.to(device)
        self._settings, self._seed, self._device = settings, seed, device
        self._planned: tuple[int, EpochPlan] | None = None

    def train_batch(self, part: Slice) -> tuple[Tensor, Tensor]:
        """Return augmented, normalised images (N, 3, 32, 32) and labels (N,); the same ones whenever it is asked."""
        return augment.train_batch(self._split, self._plan(part.epoch), part.start, part.stop)

    def eval_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation images in order, normalised."""
        return augment.eval_batches(self._split, EVAL_BATCH)

    def _plan(self, epoch: int) -> EpochPlan:
        if self._planned is None or self._planned[0] != epoch:
            plan = augment.epoch_plan(len(self._split.train_labels), self._seed, epoch, self._settings.augment)
            self._planned = (epoch, plan.to(self._device))
        return self._planned[1]
