"""How long a run is, and which images and which learning rate belong to each step. Imports no torch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from cifarsweep.errors import SpecError
from cifarsweep.spec.settings import AnyOptimizer, Schedule, Settings


@dataclass(frozen=True, slots=True)
class BatchSlice:
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
        """Raise SpecError if a batch has more images than there are, or a device's part less than `smallest_batch`.

        With synchronised batch norm the parts need one image each, and `smallest_batch` together.
        """
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
        if problem := _too_few_for_devices(settings, images, odd, smallest_batch):
            raise SpecError(problem)
        per_epoch = -(-images // settings.batch_size)
        total = settings.steps if settings.steps is not None else (settings.epochs or 0) * per_epoch
        return cls(images, settings.batch_size, total)

    @property
    def steps_per_epoch(self) -> int:
        """Batches that cover the training images once."""
        return -(-self.images // self.batch_size)

    def slice(self, step: int) -> BatchSlice:
        """Return the images of the update that follows `step` updates."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        start = batch * self.batch_size
        return BatchSlice(epoch, start, min(start + self.batch_size, self.images))

    def images_seen(self, step: int) -> int:
        """Return how many images, repetitions included, `step` updates have seen."""
        upcoming = self.slice(step)
        return upcoming.epoch * self.images + upcoming.start

    def epoch(self, step: int) -> float:
        """Return the epochs done after `step` updates; whole at the end of an epoch."""
        return self.images_seen(step) / self.images


def _too_few_for_devices(settings: Settings, images: int, odd: int, smallest_batch: int) -> str | None:
    """Return why the devices can't share the smallest batch of an epoch, of `odd` images; None if they can."""
    devices = settings.devices
    needed = 1 if settings.batch_norm == "synchronised" else smallest_batch
    if odd // devices >= needed:
        return None
    why = f"{devices} devices need {needed} each" + (", as this network's norm does" if needed > 1 else "")
    few = f", or at most {odd // needed} devices" if odd >= needed else ""
    if odd == settings.batch_size:
        return f"batch_size: {odd} images are too few, since {why}; choose at least {devices * needed}{few}"
    left = f"leaves a batch of {odd} at the end of {images} images, too few"
    return f"batch_size: {settings.batch_size} {left}, since {why}; choose another batch_size{few}"


def warmup_steps(schedule: Schedule, total_steps: int, steps_per_epoch: int) -> int:
    """Return the warm-up in steps, rounded. SpecError if it takes the whole budget."""
    steps = schedule.warmup_steps or round(schedule.warmup_epochs * steps_per_epoch)
    if steps >= total_steps:
        raise SpecError(
            f"schedule: the warm-up of {steps} steps ({schedule.warmup_epochs} epochs) leaves nothing of the budget of"
            f" {total_steps} steps; shorten it, or raise steps or epochs"
        )
    return steps


def peak_rate(settings: AnyOptimizer, batch_size: int) -> float:
    """Return the rate that the schedule starts from, scaled with the batch size if `scaling` says so.

    Linear scaling is of Goyal et al. 2017 (arXiv 1706.02677), the square root of Krizhevsky 2014 (arXiv 1404.5997).
    """
    ratio = batch_size / settings.base_batch
    match settings.scaling:
        case "linear":
            return settings.lr * ratio
        case "sqrt":
            return settings.lr * math.sqrt(ratio)
        case _:
            return settings.lr


def learning_rate(schedule: Schedule, peak: float, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """Return the rate of the update that follows `step` updates, 0 <= step < total_steps."""
    return rate_of_steps(schedule, peak, total_steps, steps_per_epoch)(step)


def rate_of_steps(schedule: Schedule, peak: float, total_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the function that gives the rate of the update that follows so many updates of `total_steps`.

    It is the rate of the curve, warm-up included, times the factor of the phase of the update's epoch. By epoch, the
    curve counts epochs in the place of steps.
    """
    by_epoch, ranges = schedule.by == "epoch", schedule.phase_ranges() if schedule.phases else []
    if by_epoch:
        curve = _curve(schedule, peak, -(-total_steps // steps_per_epoch), 1)
    else:
        curve = _curve(schedule, peak, total_steps, steps_per_epoch)
        if not ranges:
            return curve

    def rate(step: int) -> float:
        epoch = step // steps_per_epoch
        factor = next((factor for first, last, factor in ranges if first <= epoch < last), 1.0)
        return curve(epoch if by_epoch else step) * factor

    return rate


def _curve(schedule: Schedule, peak: float, total_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the function that gives the rate of the update that follows so many updates, phases left out.

    The warm-up of W steps rises by peak / (W + 1) a step and reaches `peak` right after itself, so no step is wasted on
    a rate of 0 or repeats the peak. With `warmup_start` it rises from that part of the peak, as LinearLR does. The
    curves are those of torch.optim.lr_scheduler, over the steps that are left: CosineAnnealingLR (Loshchilov & Hutter
    2017, arXiv 1608.03983, eq. 5), LinearLR, and MultiStepLR, whose milestones count from the start of the budget.
    """
    warmup = warmup_steps(schedule, total_steps, steps_per_epoch)
    after = _after_warmup(schedule, peak, total_steps, warmup)
    if not warmup:
        return after
    start = schedule.warmup_start

    def rate(step: int) -> float:
        if step >= warmup:
            return after(step)
        return peak * (step + 1) / (warmup + 1) if start is None else peak * (start + (1 - start) * step / warmup)

    return rate


def _after_warmup(schedule: Schedule, peak: float, total_steps: int, warmup: int) -> Callable[[int], float]:
    final, left = schedule.final, total_steps - warmup
    match schedule.name:
        case "constant":
            return lambda step: peak
        case "step":
            milestones = [round(part * total_steps) for part in schedule.milestones]
            return lambda step: peak * _product(schedule, bisect_right(milestones, step))
        case "cosine":
            return lambda step: peak * (final + (1 - final) * (1 + math.cos(math.pi * ((step - warmup) / left))) / 2)
        case "linear":
            return lambda step: peak * (1 - (1 - final) * ((step - warmup) / left))


def _product(schedule: Schedule, passed: int) -> float:
    return math.prod(schedule.factors[:passed]) if schedule.factors else schedule.factor**passed
