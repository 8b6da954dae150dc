"""What a study can decide before anything has run: the chance of a verdict on each of its hypotheses."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from cifarsweep.analysis.collect import guess_of
from cifarsweep.analysis.families import key_of_test
from cifarsweep.analysis.outcomes import recorded_guess
from cifarsweep.analysis.samples import Side, sides
from cifarsweep.data.catalog import class_count, sizes
from cifarsweep.errors import UnreadableStudy
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import is_share
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Outcome
from cifarsweep.stats import evidence as tests
from cifarsweep.stats.estimate import FEWEST_SEEDS, Cells
from cifarsweep.stats.evidence import Evidence
from cifarsweep.stats.multiplicity import ERROR_RATE, Plans, levels, schedule
from cifarsweep.stats.planning import chance_of_verdict, expected, pooled_sd
from cifarsweep.store import Store

#: Distances of the truth from what a hypothesis asks for, in units of accuracy.
DISTANCES = (0.005, 0.01, 0.02)
#: The one that a sentence is about.
ONE_POINT = 0.01
#: What accuracies of seeds of a fully trained CIFAR-10 network commonly differ by, as a standard deviation.
COMMON_SD = 0.003
#: A spread from fewer degrees of freedom says little; and no more studies than these are read.
_FEWEST_DF, _MOST_STUDIES = 6, 10
#: Where the means of the imagined cells lie: far from both ends of a share.
MIDDLE = 0.5


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard deviation of the seeds of a cell that a study is planned with."""

    sd: float
    studies: tuple[str, ...] = ()
    """The studies that it was found in; none where the study's file states it, or where it is the common one."""
    stated: bool = False


@dataclass(frozen=True, slots=True)
class Chances:
    """The chance of a verdict on a hypothesis at each of `DISTANCES`; none where that can't be told."""

    claim: str
    at: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LookChances:
    """What one of several planned looks decides."""

    seeds: int
    level: float
    """Its share of the 5 %."""
    chances: list[Chances]

    @property
    def ends(self) -> tuple[float, float] | None:
        """The lowest and the highest chance of a verdict at `ONE_POINT`; None where none can be told."""
        at = [one.at[DISTANCES.index(ONE_POINT)] for one in self.chances if one.at]
        return (min(at), max(at)) if at else None


def look_chances(study: Study, sd: float, plans: Plans = ()) -> tuple[LookChances, LookChances]:
    """Return what the look that the seeds of the study are for decides, and what the last look does.

    Where no looks are planned these are the looks of a plan up to four times the seeds, at least 12.
    """
    first_look = max(len(study.seeds), FEWEST_SEEDS)
    shares = levels(plans or (schedule(first_look, 4 * first_look),))
    now = max((seeds for seeds in shares if seeds <= len(study.seeds)), default=min(shares))
    first, last = (
        LookChances(seeds, shares[seeds], chances(study, sd, seeds, shares[seeds])) for seeds in (now, max(shares))
    )
    return first, last


def chances(study: Study, sd: float, seeds: int | None = None, share: float = ERROR_RATE) -> list[Chances]:
    """Return the chance of a verdict on each hypothesis with so many seeds a cell, if these vary by `sd`.

    By default the seeds are those of the study, and the one look at them has the whole `share` of 5 %.

    The truth lies so far from the threshold of the claim, on either side: of `best` all other levels are so much lower,
    and a `trend` rises by so much from its first level to its last. The level is that of the strictest step of Holm's
    method, so the chance is rather too small. Of `at_chance` the spread is at least that of guesses on its images. None
    is told for what is no accuracy, and for times.
    """
    keys = {key_of_test(one, sides(one, study)) for one in study.hypotheses}
    level, seeds = share / max(len(keys), 1), seeds or len(study.seeds)
    return [Chances(one.claim, _chances(one, study, sd, seeds, level)) for one in study.hypotheses]


def has_chances(study: Study) -> bool:
    """Whether to tell chances of a study: of a program only where a hypothesis is about an accuracy."""
    return any(study.program is None or is_share(one.metric) for one in study.hypotheses)


def _chances(hypothesis: Hypothesis, study: Study, sd: float, seeds: int, level: float) -> tuple[float, ...]:
    if hypothesis.kind == "faster" or not is_share(hypothesis.metric):
        return ()
    compared = sides(hypothesis, study)
    numbers = [len(side.cells) for side in compared]
    sd = max(sd, _guessing_sd(compared[0], study)) if hypothesis.kind == "at_chance" else sd

    def side(number: int, mean: float) -> Cells:
        return [expected(MIDDLE + mean, sd, seeds)] * numbers[number]

    found = (imagined(hypothesis, side, len(numbers), at) for at in DISTANCES)
    return tuple(chance_of_verdict(one, level) for one in found)


def _guessing_sd(side: Side, study: Study) -> float:
    """The spread of guesses on the validation images of these cells; 0 if these are unknown."""
    settings = [cell.own_settings for cell in study.cells if cell.name in side.cells and cell.own_settings is not None]
    guesses = [guess_of(one, class_count(one.dataset), sizes(one.dataset)) for one in settings]
    known = [guess.share * (1 - guess.share) / guess.images for guess in guesses if guess and guess.images]
    return math.sqrt(max(known, default=0.0))


def imagined(hypothesis: Hypothesis, side: Callable[[int, float], Cells], count: int, away: float) -> Evidence | None:
    """The evidence if the truth lies `away` from the threshold; `side` makes one of the `count` sides, given its mean.

    None of `faster`, which is no difference of means.
    """
    match hypothesis.kind:
        case "greater":
            return tests.greater(side(0, hypothesis.margin + away), side(1, 0.0), hypothesis.margin)
        case "not_worse":
            return tests.not_worse(side(0, away - hypothesis.margin), side(1, 0.0), hypothesis.margin)
        case "equivalent":
            return tests.equivalent(side(0, hypothesis.margin + away), side(1, 0.0), hypothesis.margin)
        case "at_chance":
            return tests.near(side(0, hypothesis.margin + away), MIDDLE, hypothesis.margin)
        case "reaches":
            return tests.reaches(side(0, away), MIDDLE)
        case "best":
            return tests.best(side(0, away), [side(other, 0.0) for other in range(1, count)])
        case "trend":
            step = away / max(count - 1, 1)
            return tests.trend([side(number, number * step) for number in range(count)], 1)
        case "faster":
            return None


def expected_spread(study: Study, store: Store) -> Spread:
    """Return the spread to plan with: that of the file, of similar studies of the database, or the common one.

    Similar are studies with the same data set, networks of the same family and a budget of the same size.
    """
    if study.expected_sd is not None:
        return Spread(study.expected_sd, stated=True)
    found: dict[str, list[list[float]]] = {}
    for name in _similar(study, store):
        with suppress(UnreadableStudy):
            found[name] = _values(name, store)
    pooled = pooled_sd([cell for cells in found.values() for cell in cells])
    if pooled is None or pooled[1] < _FEWEST_DF or not pooled[0]:
        return Spread(COMMON_SD)
    return Spread(pooled[0], tuple(name for name, cells in found.items() if any(len(cell) > 1 for cell in cells)))


def _similar(study: Study, store: Store) -> list[str]:
    """The newest similar studies."""
    mine = _kinds(study)
    others = [row.name for row in store.studies.all() if not row.unreadable and row.name != study.name]
    alike = (name for name in reversed(others) if mine & _kinds(store.studies.get(name).spec))
    return list(islice(alike, _MOST_STUDIES))


def _kinds(study: Study) -> set[tuple[str, str, str, int]]:
    known = [cell.own_settings for cell in study.cells if cell.own_settings is not None]
    return {(one.dataset, one.model.name, *_budget(one)) for one in known}


def _budget(settings: Settings) -> tuple[str, int]:
    """The budget, rounded to a power of two: shorter runs spread wider."""
    if settings.epochs is not None:
        return "epochs", settings.epochs.bit_length()
    return "steps", (settings.steps or 0).bit_length()


def _values(name: str, store: Store) -> list[list[float]]:
    """The final accuracies of the runs that trained, by cell."""
    cells: dict[str, list[float]] = defaultdict(list)
    for trial in store.trials.all(name):
        guess = recorded_guess(trial.final)
        if trial.value is not None and trial.outcome is Outcome.FINISHED and not (guess and guess.covers(trial.value)):
            cells[trial.cell].append(trial.value)
    return list(cells.values())
