"""How long a run is, and which images belong to which step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cifarsweep.errors import SpecError
from cifarsweep.spec.settings import Settings


@dataclass(frozen=True, slots=True)
class Slice:
    """The images `start:stop` in the order of epoch `epoch` (from 0)."""

    epoch: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps of a run over `images` training images; the odd last batch of an epoch is kept."""

    images: int
    batch_size: int
    total_steps: int

    @classmethod
    def of(cls, settings: Settings, images: int, smallest_batch: int = 1) -> Self:
        """Raise SpecError if a batch has more images than there are, or one would have less than `smallest_batch`."""
        if settings.batch_size > images:
            raise SpecError(
                f"batch_size: {settings.batch_size:,} is more than the {images:,} training images of"
                f" {settings.dataset}; choose at most {images:,}"
            )
        odd = images % settings.batch_size or settings.batch_size
        if odd < smallest_batch:
            raise SpecError(
                f"batch_size: {settings.batch_size} leaves a batch of {odd} at the end of {images} images, too few for"
                f" this network, whose norm needs {smallest_batch}; choose another batch_size or fewer model.widths"
            )
        per_epoch = -(-images // settings.batch_size)
        total = settings.steps if settings.steps is not None else (settings.epochs or 0) * per_epoch
        return cls(images, settings.batch_size, total)

    @property
    def steps_per_epoch(self) -> int:
        """Batches that cover the training images once."""
        return -(-self.images // self.batch_size)

    def slice(self, step: int) -> Slice:
        """Return the images of the update that follows `step` updates."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        start = batch * self.batch_size
        return Slice(epoch, start, min(start + self.batch_size, self.images))

    def images_seen(self, step: int) -> int:
        """Return how many images, repetitions included, `step` updates have seen."""
        upcoming = self.slice(step)
        return upcoming.epoch * self.images + upcoming.start

    def epoch(self, step: int) -> float:
        """Return the epochs done after `step` updates; whole at the end of an epoch."""
        return self.images_seen(step) / self.images
