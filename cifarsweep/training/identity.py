"""The identity of a training: digests that are equal where two trials train the same bits. Imports no torch.

What only a network or a device decides counts as different: two trials with one identity train the same bits, and two
with different ones may do so too.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping
from functools import lru_cache
from itertools import count, takewhile

from cifarsweep.spec.provenance import without_data
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.spec.types import Value
from cifarsweep.training.equal_cells import NO_PART_OF_A_STEP, read_settings
from cifarsweep.training.schedule import Budget, learning_rate, peak_rate

#: Counts the changes of our own code that let a trial train other bits. `tests/training/test_identity.py` fails when
#: that code has changed and asks for a decision.
CODE = 1

#: Settings that decide rows, checkpoints and the end of a run, and no step before it.
_DECIDE_NO_STEP = (*NO_PART_OF_A_STEP, "early_stop.patience", "early_stop.min_delta")
#: Settings that the rates of all steps tell, as they tell those of `schedule`.
_TOLD_BY_RATES = ("optimizer.lr", "optimizer.scaling", "optimizer.base_batch", "epochs", "steps")


def training_identity(
    settings: Settings, seed: int, images: int, data: str, environment: Mapping[str, str], steps: int | None = None
) -> str:
    """Return the digest of everything that decides the bits of the first `steps` steps; None for those of all.

    `images` is the number of training images, `data` the digest of images, labels and held-out part. `environment` are
    device and versions as an attempt records them; our own version is not read, since `CODE` stands for it.
    """
    whole = steps is None and settings.early_stop.patience  # such a run ends where its evaluations say
    read = _without_rates(read_settings(settings)) if whole else _first_steps(settings)
    first = array("d", rates(settings, images)[:steps])
    around = {key: value for key, value in without_data(environment).items() if key != "cifarsweep"}
    parts = {
        "code": CODE,
        "seed": seed,
        "data": data,
        "settings": read,
        "steps": len(first),
        "rates": hashlib.sha256(first.tobytes()).hexdigest(),
        "environment": around,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def shared_steps(one: Settings, other: Settings, images: int) -> int:
    """Return how many first steps two trials of one seed have in common, in bits, on so many training images."""
    if beginning(one) != beginning(other):
        return 0
    pairs = zip(count(1), rates(one, images), rates(other, images), strict=False)
    return max((step for step, _, _ in takewhile(lambda pair: pair[1] == pair[2], pairs)), default=0)


def rates(settings: Settings, images: int) -> tuple[float, ...]:
    """Return the learning rate of every step of the budget on so many training images."""
    budget = Budget.of(settings, images)
    peak = peak_rate(settings.optimizer, settings.batch_size)
    return _rates(settings.schedule, peak, budget.total_steps, budget.steps_per_epoch)


@lru_cache(maxsize=64)  # the cells of a study have few schedules
def _rates(schedule: Schedule, peak: float, total: int, per_epoch: int) -> tuple[float, ...]:
    return tuple(learning_rate(schedule, peak, step, total, per_epoch) for step in range(total))


@lru_cache(maxsize=1024)
def beginning(settings: Settings) -> str:
    """What decides the bits of a step beside seed, images and rates."""
    return json.dumps(_first_steps(settings), sort_keys=True)


def _first_steps(settings: Settings) -> dict[str, Value]:
    """What decides the bits of first steps, rates left out."""
    return _without_rates({key: value for key, value in read_settings(settings).items() if key not in _DECIDE_NO_STEP})


def _without_rates(read: Mapping[str, Value]) -> dict[str, Value]:
    return {key: at for key, at in read.items() if key not in _TOLD_BY_RATES and not key.startswith("schedule.")}
