"""Tries the first steps of a training with parts of the user's own, on images of noise on the processor.

What a worker would find later is found when the study is created: shapes, gradients, losses that are not finite, steps
that do not come again to the same bits, and what only a GPU refuses, as far as operations tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.data.dataset import Split
from cifarsweep.errors import CifarsweepError, SpecError
from cifarsweep.models import build, smallest_batch
from cifarsweep.models.determinism import RAISE_ON_GPU, WAIT_FOR_HOST, OperationNames
from cifarsweep.own_code import user_line
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.metrics import TIMING_METRICS, TRAIN_LOSS
from cifarsweep.spec.settings import EarlyStop, Optimizer, OwnLoss, OwnModel, Schedule, Settings, Validation
from cifarsweep.training.events import Event, Finished, Metrics, Rejected, Saved
from cifarsweep.training.loop import Run, train
from cifarsweep.training.optimizers import is_capturable, make_optimizer
from cifarsweep.training.own_functions import make_augmentation, make_loss

#: Steps that are trained, and images of one.
_STEPS, _BATCH = 3, 8
_SEED = 0


def check_first_steps(settings: Settings, classes: int, shape: ImageShape, folder: Path) -> list[str]:
    """Return notes on what a GPU or the optimizer will make of these settings; checkpoints go to `folder`.

    Raises SpecError that says what is wrong, with the line of the user's code where there is one.
    """
    try:
        operations, idle = _forward(settings, classes, shape)
        small, split = _small(settings, shape), _noise(settings, classes, shape)
        whole = _events(small, split, classes, folder / "whole")
        _check_loss(settings, whole)
        if settings.determinism == "exact":
            _check_bits(small, split, classes, folder, whole)
    except CifarsweepError as error:
        raise SpecError(str(error)) from error
    except Exception as error:
        raise SpecError(f"the first steps of {_parts(settings)} fail: {user_line(error)}") from error
    return [*idle, *_of_gpus(settings, operations)]


def _parts(settings: Settings) -> str:
    """Return the names of the parts that are tried."""
    names = [settings.model.name] if isinstance(settings.model, OwnModel) else []
    names += [] if isinstance(settings.optimizer, Optimizer) else [settings.optimizer.name]
    names += [settings.loss.name] if isinstance(settings.loss, OwnLoss) else []
    names += [settings.augment.own.name] if settings.augment.own else []
    return " with ".join([*names, *settings.metrics.own])


def _forward(settings: Settings, classes: int, shape: ImageShape) -> tuple[set[str], list[str]]:
    """Check the logits of a batch. Return the operations of a step, and a note on parameters that get no gradient."""
    generator = torch.Generator().manual_seed(_SEED)
    model = build(settings.model, classes, generator, shape)
    images = torch.randn(_BATCH, shape.channels, shape.side, shape.side, generator=generator)
    device = torch.device("cpu")
    augment, loss = make_augmentation(settings, device), make_loss(settings, classes, device) or F.cross_entropy
    with OperationNames() as names:
        images = images if augment is None else _checked_images(settings, augment(images), images)
        logits = _checked_logits(settings, model(images), classes)
        _checked_loss(settings, loss(logits, torch.arange(_BATCH) % classes)).backward()  # type: ignore[no-untyped-call]
    idle = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    listed = ", ".join(idle[:3]) + (f" and {len(idle) - 3} more" if len(idle) > 3 else "")
    note = f"parameters of {settings.model.name} get no gradient, and so are not trained: {listed}"
    return names.seen, [note] if idle else []


def _checked_images(settings: Settings, changed: object, images: Tensor) -> Tensor:
    if not isinstance(changed, Tensor) or changed.shape != images.shape or changed.dtype != images.dtype:
        found = f"{tuple(changed.shape)} {changed.dtype}" if isinstance(changed, Tensor) else type(changed).__name__
        raise SpecError(
            f"augment.own: {settings.augment.own and settings.augment.own.name} must turn images "
            f"{tuple(images.shape)} {images.dtype} into others like them, not into {found}"
        )
    return changed


def _checked_loss(settings: Settings, loss: object) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise SpecError(f"loss: {settings.loss.name} must turn logits and labels into one number with a gradient")
    return loss


def _checked_logits(settings: Settings, logits: object, classes: int) -> Tensor:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (_BATCH, classes) or not logits.is_floating_point():
        found = f"{tuple(logits.shape)} {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        raise SpecError(
            f"model: {settings.model.name} must turn {_BATCH} images into floating-point logits "
            f"({_BATCH}, {classes}), one for each class, not into {found}"
        )
    if not logits.requires_grad:
        raise SpecError(f"model: the logits of {settings.model.name} depend on no parameter that is trained")
    return logits


def _small(settings: Settings, shape: ImageShape) -> Settings:
    """Return the settings with three steps of few images, and a row for each."""
    batch = max(min(settings.batch_size, _BATCH), smallest_batch(settings.model, shape))
    changes = {"steps": _STEPS, "epochs": None, "log_every": 1, "eval_every": _STEPS, "batch_size": batch}
    plain = {"schedule": Schedule(), "early_stop": EarlyStop(), "validation": Validation(), "keep_best": False}
    return settings.model_copy(update={**changes, **plain, "devices": 1})


def _noise(settings: Settings, classes: int, shape: ImageShape) -> Split:
    """Return images of noise, as many as three steps take."""
    images = _STEPS * max(_BATCH, smallest_batch(settings.model, shape))
    generator = torch.Generator().manual_seed(_SEED)
    size = (images, shape.channels, shape.side, shape.side)
    pixels = torch.randint(0, 256, size, generator=generator).to(torch.uint8)
    pixels, labels = pixels.to(memory_format=torch.channels_last), torch.arange(images) % classes
    half = torch.full((shape.channels,), 0.5)
    return Split(pixels, labels, pixels, labels, half, half / 2)


def _events(
    settings: Settings, split: Split, classes: int, folder: Path, stop_after: int = 10**9, resume: Saved | None = None
) -> list[Event]:
    asked = count()
    run = Run(
        settings=settings,
        seed=_SEED,
        split=split,
        classes=classes,
        folder=CheckpointFolder(folder),
        resume=(resume.checkpoint,) if resume else (),
        should_stop=lambda: next(asked) >= stop_after,
    )
    return list(train(run))


def _check_loss(settings: Settings, events: list[Event]) -> None:
    """Raise SpecError where the loss is not finite before anything was learned."""
    losses = [
        row.value for event in events if isinstance(event, Metrics) for row in event.rows if row.name == TRAIN_LOSS
    ]
    if losses and losses[0] - losses[0] != 0:
        raise SpecError(f"the loss of {_parts(settings)} is {losses[0]} at the first step, before anything is trained")


def _check_bits(settings: Settings, split: Split, classes: int, folder: Path, whole: list[Event]) -> None:
    """Raise SpecError unless the steps come again to the same bits, also after an interruption."""
    remedy = 'draw random numbers from torch\'s generators alone, or set determinism = "fast"'
    if _bits(_events(settings, split, classes, folder / "again")) != _bits(whole):
        raise SpecError(f"two runs of {_STEPS} steps of {_parts(settings)} give different bits: {remedy}")
    first = _events(settings, split, classes, folder / "parts", stop_after=3)
    saved = next((event for event in first if isinstance(event, Saved)), None)
    second = _events(settings, split, classes, folder / "parts", resume=saved)
    if rejected := next((event for event in second if isinstance(event, Rejected)), None):
        raise SpecError(f"{_parts(settings)} can't go on from its own checkpoint: {rejected.reason}")
    if _bits([*first, *second]) != _bits(whole):
        raise SpecError(
            f"{_parts(settings)} does not go on to the same bits from a checkpoint, which holds what state_dict gives: "
            "keep its state in parameters and buffers, or in the state of the optimizer"
        )


def _bits(events: list[Event]) -> dict[object, object]:
    """Return what must be the same again: the rows but for times, and the weights."""
    rows = [row for event in events if isinstance(event, Metrics) for row in event.rows]
    bits: dict[object, object] = {
        (row.name, row.step): row.value.hex() for row in rows if row.name not in TIMING_METRICS
    }
    last = events[-1]
    return bits | {"weights": last.result.weights_sha256 if isinstance(last, Finished) else None}


def _of_gpus(settings: Settings, operations: set[str]) -> Iterator[str]:
    """Yield notes on what a GPU will make of these operations."""
    if settings.determinism == "exact" and (raising := sorted(operations & RAISE_ON_GPU)):
        yield (
            f'a GPU can\'t train {_parts(settings)} under determinism = "exact" ({", ".join(raising)} gives other bits '
            "each time): add --set determinism=fast, or train on processors only (worker --cpu)"
        )
    optimizer = make_optimizer(settings.optimizer, [torch.nn.Parameter(torch.zeros(2, 2))])
    if not (is_capturable(optimizer) or "capturable" in optimizer.defaults):
        yield (
            f"a step of {settings.optimizer.name} is no CUDA graph, for it has no argument capturable: a GPU trains it "
            "operation by operation, more slowly"
        )
    elif waiting := sorted(operations & WAIT_FOR_HOST):
        yield (
            f"a step of {_parts(settings)} can't be one CUDA graph, as the host waits for results ({', '.join(waiting)}"
            ", as of .item() or a mask): a GPU trains it operation by operation, more slowly"
        )
    else:
        yield (
            f"whether a step of {_parts(settings)} can be one CUDA graph was not tried, without a GPU: a worker tries, "
            "and trains operation by operation where it can't"
        )
