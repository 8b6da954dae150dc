"""Images of a run, on its device, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cifarsweep.data import augment
from cifarsweep.data.augment import EpochPlan
from cifarsweep.data.dataset import Split
from cifarsweep.spec.settings import Settings
from cifarsweep.training.schedule import Slice

#: A constant: the last bits of a validation loss depend on it.
EVAL_BATCH = 500


class Feed:
    """The images of a run. They move to the device once; a plan of order and augmentation follows every epoch."""

    def __init__(self, split: Split, settings: Settings, seed: int, device: torch.device, classes: int) -> None:
        self._split = split.to(device)
        self._settings, self._seed, self._device, self._classes = settings, seed, device, classes
        self._planned: tuple[int, EpochPlan] | None = None

    def train_batch(self, part: Slice) -> tuple[Tensor, Tensor]:
        """Return augmented, normalised images (N, 3, 32, 32) and labels; the same ones whenever it is asked.

        Labels are (N,), or probabilities (N, classes) where images are mixed.
        """
        return self.planned_batch(self.batch_plan(part))

    def batch_plan(self, part: Slice) -> EpochPlan:
        """Return what the epoch's plan says of these images."""
        return self._plan(part.epoch).batch(part.start, part.stop)

    def planned_batch(self, plan: EpochPlan) -> tuple[Tensor, Tensor]:
        """Return the batch of a plan; a captured step may do this, whatever the recipe."""
        return augment.planned_batch(self._split, plan)

    def eval_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation images in order, normalised."""
        return augment.eval_batches(self._split, EVAL_BATCH)

    def _plan(self, epoch: int) -> EpochPlan:
        if self._planned is None or self._planned[0] != epoch:
            images, recipe = len(self._split.train_labels), self._settings.augment
            plan = augment.epoch_plan(images, self._seed, epoch, recipe, self._classes)
            self._planned = (epoch, plan.to(self._device))
        return self._planned[1]
