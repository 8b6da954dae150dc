"""Finds cells of a study that train the same bits, since they differ in settings that training does not read.

It imports no torch. It finds what settings say; what only a network or a device decides it leaves as different.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from cifarsweep.spec.settings import ConvNet, Settings, flat_settings
from cifarsweep.spec.study import Study
from cifarsweep.training.schedule import Budget, peak_rate

_Condition = Callable[[Settings], bool]

#: Settings that do not change a step, as long as nothing stops early.
_NO_PART_OF_A_STEP = ("log_every", "eval_every", "keep_best", "early_stop.min_delta")


def _norm(settings: Settings) -> str:
    return settings.model.norm if isinstance(settings.model, ConvNet) else ""


def _warms_up(settings: Settings) -> bool:
    return bool(settings.schedule.warmup_epochs or settings.schedule.warmup_steps)


#: Where the condition holds, training does not read the settings beside it.
_UNREAD: tuple[tuple[_Condition, tuple[str, ...]], ...] = (
    (lambda s: s.validation.split == "test", ("validation.fraction", "validation.seed")),
    (lambda s: s.optimizer.name == "sgd", ("optimizer.beta1", "optimizer.beta2")),
    (lambda s: s.optimizer.name != "sgd", ("optimizer.momentum", "optimizer.nesterov")),
    (lambda s: not s.optimizer.weight_decay, ("optimizer.decay_norms",)),
    (lambda s: s.schedule.name != "step", ("schedule.milestones", "schedule.factor", "schedule.factors")),
    (lambda s: bool(s.schedule.factors), ("schedule.factor",)),
    (lambda s: s.schedule.name not in ("cosine", "linear"), ("schedule.final",)),
    (lambda s: not _warms_up(s), ("schedule.warmup_start",)),
    (lambda s: s.schedule.name == "constant" and not _warms_up(s), ("schedule.by",)),
    (lambda s: not s.augment.randaugment, ("augment.randaugment_magnitude",)),
    (lambda s: not s.early_stop.patience, _NO_PART_OF_A_STEP),
    (lambda s: _norm(s) != "group", ("model.norm_groups", "model.norm_group_size")),
    (lambda s: _norm(s) == "none", ("model.norm_affine",)),
    (lambda s: isinstance(s.model, ConvNet) and not s.model.skip, ("model.skip_every", "model.bridge_size")),
)


def what_trains(settings: Settings, images: int | None) -> str:
    """Return a text that is equal for settings that train the same bits on so many images; None if that is unknown."""
    unread = {key for holds, keys in _UNREAD if holds(settings) for key in keys}
    read = {key: value for key, value in flat_settings(settings).items() if key not in unread}
    # The rate is what counts, not how it was written.
    read["optimizer.lr"] = peak_rate(settings.optimizer, settings.batch_size)
    del read["optimizer.scaling"], read["optimizer.base_batch"]
    if images is not None:
        read["steps"] = Budget.of(settings, images).total_steps
        del read["epochs"]
    return json.dumps(read, sort_keys=True)


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
