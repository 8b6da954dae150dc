"""The identity of a training: digests that are equal where two trials train the same bits. Imports no torch.

Two things are told apart. **Bits** are weights and the state of the optimizer after a step: seed, images, labels and
held-out part, the network and all settings that training reads, the rate of every step, device, versions and our own
code decide them (`training_identity`). **Rows** are what a trial writes down: all that decides bits, and `log_every`,
`eval_every`, `keep_best` and `early_stop`, which say when it evaluates, what it keeps and when it ends
(`rows_identity`). A trial may take what another one trained only where the rows are the same too.

What only a network or a device decides counts as different: two trials with one identity train the same bits, and two
with different ones may do so too.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from cifarsweep.spec.provenance import without_data
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.spec.types import Value
from cifarsweep.training.equal_cells import METRICS, NO_PART_OF_A_STEP, read_settings
from cifarsweep.training.schedule import Budget, peak_rate, rate_of_steps

#: Counts the changes of our own code that let a trial train other bits. `tests/training/test_identity.py` fails when
#: that code has changed and asks for a decision.
CODE = 1

#: Settings that decide rows, checkpoints and the end of a run, and no step before it.
_DECIDE_NO_STEP = (*NO_PART_OF_A_STEP, "early_stop.patience", "early_stop.min_delta")
#: Settings that the rates of all steps tell, as they tell those of `schedule`.
_TOLD_BY_RATES = ("optimizer.lr", "optimizer.scaling", "optimizer.base_batch", "epochs", "steps")
#: Settings that decide rows; `eval_every` too, whose default is an epoch.
_DECIDE_ROWS = ("log_every", "keep_best", "early_stop.patience", "early_stop.min_delta", *METRICS)
#: Rates of two trials that are compared before all of them are computed.
_FIRST_RATES = 100
#: A budget of more steps is meant to have no end: nobody waits until all its rates are computed.
_ENDLESS = 5_000_000


def training_identity(
    settings: Settings, seed: int, images: int, data: str, environment: Mapping[str, str], steps: int | None = None
) -> str:
    """Return the digest of everything that decides the bits of the first `steps` steps; None for those of all.

    `images` is the number of training images, `data` the digest of images, labels and held-out part. `environment` are
    device and versions as an attempt records them; our own version is not read, since `CODE` stands for it.
    """
    whole = steps is None and settings.early_stop.patience  # such a run ends where its evaluations say
    read = _without_rates(read_settings(settings)) if whole else _first_steps(settings)
    taken, rates_sha256 = _digest_of_rates(curve(settings, images), steps)
    around = {key: value for key, value in without_data(environment).items() if key != "cifarsweep"}
    parts = {
        "code": CODE,
        "seed": seed,
        "data": data,
        "settings": read,
        "steps": taken,
        "rates": rates_sha256,
        "environment": around,
    }
    return _sha256(parts)


def rows_identity(
    settings: Settings, seed: int, images: int, data: str, environment: Mapping[str, str], steps: int | None = None
) -> str | None:
    """Return the digest of everything that decides the bits and the rows of the first `steps` steps.

    With `steps` None it is that of the whole training, its end and its result included. None for a training that does
    not promise the same bits again, or whose budget has no end. The arguments are those of `training_identity`.
    """
    of_cell = _rows_but_for_seed(settings, images, data, tuple(sorted(environment.items())), steps)
    return None if of_cell is None else hashlib.sha256(f"{of_cell} {seed}".encode()).hexdigest()


@lru_cache(maxsize=1024)  # every claim asks for it, and the trials of a cell differ in their seeds alone
def _rows_but_for_seed(
    settings: Settings, images: int, data: str, environment: tuple[tuple[str, str], ...], steps: int | None
) -> str | None:
    if settings.determinism != "exact" or (steps is None and curve(settings, images).total > _ENDLESS):
        return None
    first = curve(settings, images).total if steps is None else steps
    bits = training_identity(settings, 0, images, data, dict(environment), first)
    return _sha256({"bits": bits, "rows": _row_settings(settings, images), "whole": steps is None})


def shared_steps(one: Settings, other: Settings, images: int) -> int:
    """Return how many first steps two trials of one seed have in common, in bits, on so many training images."""
    if beginning(one) != beginning(other):
        return 0
    return shared_rates(curve(one, images), curve(other, images))


def shared_rows_steps(one: Settings, other: Settings, images: int) -> int:
    """Return how many first steps two trials of one seed have in common, in bits and rows; 0 without `exact`.

    The rows of the last of these steps are not the same where one of the two ends with it: it evaluates once more.
    """
    if beginning_of_rows(one, images) is None or beginning_of_rows(one, images) != beginning_of_rows(other, images):
        return 0
    return shared_rates(curve(one, images), curve(other, images))


class Curve(NamedTuple):
    """What decides the rates of all steps; of another one some rates may be the same."""

    schedule: Schedule
    peak: float
    total: int
    steps_per_epoch: int


@lru_cache(maxsize=1024)
def curve(settings: Settings, images: int) -> Curve:
    """Return what decides the rates on so many training images. Raises SpecError where they can't be trained on."""
    budget = Budget.of(settings, images)
    peak = peak_rate(settings.optimizer, settings.batch_size)
    return Curve(settings.schedule, peak, budget.total_steps, budget.steps_per_epoch)


def shared_rates(one: Curve, other: Curve) -> int:
    """Return how many first rates are equal."""
    if one == other:
        return one.total
    # Most differ within a few steps, and need not be computed to the end.
    shortest = min(one.total, other.total)
    first, second = rate_of_steps(*one), rate_of_steps(*other)
    for step in range(min(shortest, _FIRST_RATES)):
        if first(step) != second(step):
            return step
    return equal_rates(_rates(one), _rates(other))


def equal_rates(one: Sequence[float], other: Sequence[float]) -> int:
    """Return how many first rates are equal, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def rates(settings: Settings, images: int) -> Sequence[float]:
    """Return the learning rate of every step of the budget on so many training images."""
    return _rates(curve(settings, images))


def beginning_of_rows(settings: Settings, images: int) -> str | None:
    """What decides bits and rows of a step beside seed, images and rates; None where nothing is to be shared."""
    if settings.determinism != "exact" or curve(settings, images).total > _ENDLESS:
        return None
    return json.dumps([beginning(settings), _row_settings(settings, images)])


def _rates(of: Curve, steps: int | None = None) -> array[float]:
    """The first `steps` rates, all with None. Each is computed when it is first asked for: a budget may have no end."""
    wanted = of.total if steps is None else min(steps, of.total)
    with _growing:
        known = _known_rates(of)
        known.extend(map(rate_of_steps(*of), range(len(known), wanted)))
        return known[:wanted]


_growing = Lock()


@lru_cache(maxsize=128)  # 8 bytes a step, and the cells of a study have few schedules
def _known_rates(of: Curve) -> array[float]:
    return array("d")


@lru_cache(maxsize=1024)
def _digest_of_rates(of: Curve, steps: int | None) -> tuple[int, str]:
    """How many the first `steps` rates are, and their digest."""
    first = _rates(of, steps)
    return len(first), hashlib.sha256(first).hexdigest()


@lru_cache(maxsize=1024)
def beginning(settings: Settings) -> str:
    """What decides the bits of a step beside seed, images and rates."""
    return json.dumps(_first_steps(settings), sort_keys=True)


@lru_cache(maxsize=1024)
def _first_steps(settings: Settings) -> Mapping[str, Value]:
    """What decides the bits of first steps, rates left out."""
    return _without_rates({key: value for key, value in read_settings(settings).items() if key not in _DECIDE_NO_STEP})


@lru_cache(maxsize=1024)
def _row_settings(settings: Settings, images: int) -> Mapping[str, Value]:
    """What decides rows and no bits, as training reads it."""
    read = read_settings(settings)
    every = settings.eval_every or Budget.of(settings, images).steps_per_epoch
    return {"eval_every": every} | {key: read[key] for key in _DECIDE_ROWS if key in read}


def _without_rates(read: Mapping[str, Value]) -> dict[str, Value]:
    return {key: at for key, at in read.items() if key not in _TOLD_BY_RATES and not key.startswith("schedule.")}


def _sha256(parts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
