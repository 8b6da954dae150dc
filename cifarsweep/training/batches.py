"""Loads the images of a run, on its device, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cifarsweep.data import augment
from cifarsweep.data.augment import EpochPlan
from cifarsweep.data.dataset import Split
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.settings import Normalize, Settings
from cifarsweep.training.schedule import BatchSlice

#: Constants: the last bits of a validation loss depend on them. Of larger images, fewer are evaluated at once, so that
#: they need no more memory.
EVAL_BATCH, _FEWEST = 500, 50


def eval_batch(shape: ImageShape) -> int:
    """Return how many images are evaluated at once."""
    return min(EVAL_BATCH, max(_FEWEST, EVAL_BATCH * CIFAR.side**2 // shape.side**2))


@dataclass(frozen=True, slots=True)
class EvalPart:
    """Images to evaluate, `size` at once, and their labels (N,)."""

    split: Split
    size: int
    images: Tensor
    labels: Tensor

    def batches(self, first: int = 0, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, normalised, and labels: of all batches in order the one numbered `first`, and every so many."""
        return augment.eval_batches(self.split, self.size, (self.images, self.labels), first, every)


class BatchLoader:
    """The images of a run. They move to the device once, and a plan of order and augmentation for each epoch."""

    def __init__(self, split: Split, settings: Settings, seed: int, device: torch.device, classes: int) -> None:
        self._split = _normalized(split, settings.normalize).to(device)
        self._settings, self._seed, self._device, self._classes = settings, seed, device, classes
        self._eval_batch = eval_batch(split.shape)
        self._planned: tuple[int, EpochPlan] | None = None

    def train_batch(self, batch: BatchSlice) -> tuple[Tensor, Tensor]:
        """Return augmented, normalised images (N, channels, side, side) and labels; the same ones at every call.

        Labels are (N,), or probabilities (N, classes) if images are mixed.
        """
        return self.planned_batch(self.batch_plan(batch))

    def part_of_batch(self, batch: BatchSlice, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Return images `first` to before `last` of the same batch, the same as they are in the whole of it."""
        plan = self.batch_plan(batch).part(first, last)
        images, labels = self.planned_batch(plan)
        more = len(images) - (last - first)  # the image that went into the first one
        return images[more:], labels[more:]

    def batch_plan(self, batch: BatchSlice) -> EpochPlan:
        """Return the epoch's plan of these images."""
        return self._plan(batch.epoch).batch(batch.start, batch.stop)

    def planned_batch(self, plan: EpochPlan) -> tuple[Tensor, Tensor]:
        """Return the batch of a plan. A CUDA graph may hold this, whatever the recipe."""
        return augment.planned_batch(self._split, plan)

    @property
    def validation(self) -> EvalPart:
        return EvalPart(self._split, self._eval_batch, self._split.val_images, self._split.val_labels)

    @property
    def test(self) -> EvalPart | None:
        """The test images; None where the validation images are the test set."""
        images, labels = self._split.test_images, self._split.test_labels
        return None if images is None or labels is None else EvalPart(self._split, self._eval_batch, images, labels)

    def _plan(self, epoch: int) -> EpochPlan:
        if self._planned is None or self._planned[0] != epoch:
            images, recipe = len(self._split.train_labels), self._settings.augment
            plan = augment.epoch_plan(images, self._seed, epoch, recipe, self._classes, self._split.shape.side)
            self._planned = (epoch, plan.to(self._device))
        return self._planned[1]


def _normalized(split: Split, wanted: Normalize) -> Split:
    """Return the split with the mean and deviation of the settings, if they have some."""
    if wanted.mean is None or wanted.std is None:
        return split
    return replace(split, mean=torch.tensor(wanted.mean), std=torch.tensor(wanted.std))
