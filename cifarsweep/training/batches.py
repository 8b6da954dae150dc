"""Images of a run, on its device, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from cifarsweep.data import augment
from cifarsweep.data.augment import EpochPlan
from cifarsweep.data.dataset import Split
from cifarsweep.spec.settings import Augment, Settings
from cifarsweep.training.budget import Slice

#: A constant: the last bits of a validation loss depend on it.
EVAL_BATCH = 500


class Feed:
    """The images of a run. They move to the device once; a plan of order and augmentation follows every epoch."""

    def __init__(self, split: Split, settings: Settings, seed: int, device: torch.device, classes: int) -> None:
        self._split = split.to(device)
        self._settings, self._seed, self._device, self._classes = settings, seed, device, classes
        self._planned: tuple[int, EpochPlan] | None = None
        self._plain = _is_plain(settings.augment)

    def train_batch(self, part: Slice) -> tuple[Tensor, Tensor]:
        """Return augmented, normalised images (N, 3, 32, 32) and labels; the same ones whenever it is asked.

        Labels are (N,), or probabilities (N, classes) where images are mixed.
        """
        return augment.train_batch(self._split, self._plan(part.epoch), part.start, part.stop)

    def graph_inputs(self, part: Slice) -> tuple[Tensor, ...]:
        """Return what a captured step reads: the rows of the plan where the gather can be captured, else the batch."""
        if not self._plain:
            return self.train_batch(part)
        plan, rows = self._plan(part.epoch), slice(part.start, part.stop)
        return plan.order[rows], plan.offset[rows], plan.flip[rows]

    def batch_of(self, epoch: int, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the batch that `inputs` of any epoch stand for."""
        if not self._plain:
            return inputs
        order, offset, flip = inputs
        plan = replace(self._plan(epoch), order=order, offset=offset, flip=flip)
        return augment.train_batch(self._split, plan, 0, len(order))

    def eval_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation images in order, normalised."""
        return augment.eval_batches(self._split, EVAL_BATCH)

    def _plan(self, epoch: int) -> EpochPlan:
        if self._planned is None or self._planned[0] != epoch:
            images, recipe = len(self._split.train_labels), self._settings.augment
            plan = augment.epoch_plan(images, self._seed, epoch, recipe, self._classes)
            self._planned = (epoch, plan.to(self._device))
        return self._planned[1]


def _is_plain(settings: Augment) -> bool:
    """Whether a batch needs three rows of the plan only: images are cropped and mirrored, and nothing else."""
    return settings == Augment(crop=settings.crop, flip=settings.flip, label_smoothing=settings.label_smoothing)
