"""Finds settings that training does not read, and cells of a study that train the same bits for that reason.

It imports no torch. It finds what settings say; what only a network or a device decides it leaves as different.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from cifarsweep.spec.levels import level_text
from cifarsweep.spec.settings import ConvNet, Optimizer, OwnLoss, Settings, flat_settings
from cifarsweep.spec.types import Value
from cifarsweep.training.schedule import Budget, peak_rate

if TYPE_CHECKING:  # The child of a worker imports this, and reads no study.
    from cifarsweep.spec.study import Study

_Condition = Callable[[Settings], bool]

#: Settings that do not change a step, as long as nothing stops early.
METRICS = ("metrics.top5", "metrics.ece", "metrics.own", "metrics.code")
NO_PART_OF_A_STEP = ("log_every", "eval_every", "keep_best", *METRICS)


def _norm(settings: Settings) -> str:
    return settings.model.norm if isinstance(settings.model, ConvNet) else ""


def _is(settings: Settings, *names: str) -> bool:
    """Whether the optimizer is one of torch's that we name; all others read whatever they have."""
    return isinstance(settings.optimizer, Optimizer) and settings.optimizer.name in names


def _decays(settings: Settings) -> bool:
    return bool(getattr(settings.optimizer, "weight_decay", True))


def _warms_up(settings: Settings) -> bool:
    return bool(settings.schedule.warmup_epochs or settings.schedule.warmup_steps)


#: Training reads the settings of a row only where its condition holds, which the text says in words.
_READ_WHERE: tuple[tuple[_Condition, tuple[str, ...], str], ...] = (
    (lambda s: s.validation.split == "holdout", ("validation.fraction", "validation.seed"), "a hold-out"),
    (lambda s: not _is(s, "sgd"), ("optimizer.beta1", "optimizer.beta2"), 'optimizer.name = "adamw" or "adam"'),
    (lambda s: not _is(s, "adamw", "adam"), ("optimizer.momentum", "optimizer.nesterov"), 'optimizer.name = "sgd"'),
    (lambda s: s.optimizer.scaling != "none", ("optimizer.base_batch",), "optimizer.scaling"),
    (_decays, ("optimizer.decay_norms",), "optimizer.weight_decay above 0"),
    (lambda s: s.schedule.name == "step", ("schedule.milestones", "schedule.factors"), 'schedule.name = "step"'),
    (lambda s: s.schedule.name == "step" and not s.schedule.factors, ("schedule.factor",), "steps without factors"),
    (lambda s: s.schedule.name in ("cosine", "linear"), ("schedule.final",), 'schedule.name = "cosine" or "linear"'),
    (_warms_up, ("schedule.warmup_start",), "a warm-up"),
    (lambda s: s.schedule.name != "constant" or _warms_up(s), ("schedule.by",), "a rate that changes"),
    (lambda s: s.augment.randaugment > 0, ("augment.randaugment_magnitude",), "augment.randaugment above 0"),
    (lambda s: isinstance(s.loss, OwnLoss), ("loss.name",), "a loss of one's own"),
    (lambda s: s.augment.own is not None, ("augment.own",), "an augmentation of one's own"),
    (lambda s: bool(s.metrics.names), METRICS, "a metric that is on"),
    (lambda s: s.devices > 1, ("devices", "batch_norm"), "devices above 1"),
    (lambda s: s.early_stop.patience > 0, ("early_stop.min_delta",), "early_stop.patience above 0"),
    (lambda s: _norm(s) == "group", ("model.norm_groups", "model.norm_group_size"), 'model.norm = "group"'),
    (lambda s: _norm(s) != "none", ("model.norm_affine",), "a norm"),
    (lambda s: _norm(s) == "none", ("model.conv_bias",), 'model.norm = "none"'),
    (
        lambda s: isinstance(s.model, ConvNet) and s.model.skip,
        ("model.skip_every", "model.bridge_size"),
        "model.skip = true",
    ),
)


def _unread(settings: Settings) -> dict[str, str]:
    """Return the settings that training does not read beside these, each with what it needs."""
    return {key: needs for holds, keys, needs in _READ_WHERE if not holds(settings) for key in keys}


def read_settings(settings: Settings) -> dict[str, Value]:
    """Return the settings that training reads, by their dotted keys."""
    unread = _unread(settings)
    read = {key: value for key, value in flat_settings(settings).items() if key not in unread}
    # One skip over all convolutions of a stage is the skip over the stage.
    if read.get("model.skip_every") == read.get("model.convs_per_stage"):
        read["model.skip_every"] = 0
    return read


def what_trains(settings: Settings, images: int | None) -> str:
    """Return a text that is equal for settings that train the same bits on so many images; None if that is unknown."""
    read = read_settings(settings)
    for key in () if settings.early_stop.patience else NO_PART_OF_A_STEP:
        read.pop(key, None)
    # The rate is what counts, not how it was written.
    read["optimizer.lr"] = peak_rate(settings.optimizer, settings.batch_size)
    for key in ("optimizer.scaling", "optimizer.base_batch"):
        read.pop(key, None)
    if images is not None:
        read["steps"] = Budget.of(settings, images).total_steps
        del read["epochs"]
    return json.dumps(read, sort_keys=True)


def unread_settings(study: Study) -> Iterator[str]:
    """Yield a sentence on each setting that the study sets and no cell of it reads.

    One that some cells read and others don't is no mistake: factors are crossed.
    """
    usual = flat_settings(Settings(epochs=1))
    set_somewhere: dict[str, str] = {}
    read_somewhere: set[str] = set()
    for cell in study.cells:
        unread, flat = _unread(cell.settings), flat_settings(cell.settings)
        for key in flat.keys() & usual.keys():
            if key not in unread:
                read_somewhere.add(key)
            elif flat[key] != usual[key]:
                set_somewhere.setdefault(
                    key, f"{key} = {level_text(flat[key])} changes nothing: it needs {unread[key]}"
                )
    yield from (sentence for key, sentence in sorted(set_somewhere.items()) if key not in read_somewhere)


def equal_cells(study: Study, images: Mapping[str, int | None]) -> Iterator[str]:
    """Yield a sentence on each cell that trains the same bits as one before it; `images` are those of each cell.

    A search has none: its cells only stand for its points.
    """
    first: dict[str, str] = {}
    for cell in () if study.search else study.cells:
        name = first.setdefault(what_trains(cell.settings, images[cell.name]), cell.name)
        if name != cell.name:
            yield (
                f"the cells {name!r} and {cell.name!r} train the same bits: they differ only in what training does not "
                "read; leave one of them out to save its trials"
            )
