"""Says of a verdict that rests on a noisy cell of few seeds how often such verdicts are false, and what mends it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from cifarsweep.analysis.families import key_of_test
from cifarsweep.analysis.planning import COMMON_SD, MIDDLE, imagined
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import Side, cells_of, sides
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats.error_rate import MOST_TIMES, error_rate, seeds_added, worst_part
from cifarsweep.stats.estimate import FEWEST_SEEDS, Sample
from cifarsweep.stats.evidence import Evidence
from cifarsweep.stats.multiplicity import ERROR_RATE, Plans, bound, levels
from cifarsweep.stats.planning import expected

#: How many times as noisy as the others a cell may be: the chance of a false verdict is highest at one of these.
RATIOS = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
#: The same as `MOST_TIMES` where all cells have as many seeds, which is harmless unless one is far noisier: 7 %.
_MOST_TIMES_OF_EQUAL = 1.4
_MOST_ADDED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FewSeeds:
    """The cell whose few seeds make false verdicts more frequent than promised, if spreads are as measured."""

    study: str
    cell: str
    seeds: int
    most: int
    """Seeds of the cell that has the most."""
    ratio: float
    """Its spread over that of the other cells, the root of their mean variance."""
    chance: float
    """Of any false verdict in the study."""
    promised: float
    """The same where Welch's test keeps its level."""
    needed: int | None
    """Seeds of this cell, as many more of the others, with which it is no longer told; None for very many."""
    lost: int
    """Trials of this cell that failed or were cancelled: they can be trained again."""
    trials: int | None
    """The seeds that each cell of the study has to have for that; None where no command adds them."""


@dataclass(frozen=True, slots=True)
class Test:
    """A hypothesis of a study; those with one key are one test."""

    key: Hashable
    evidence: Evidence | None
    level: float
    """Of its look, for all tests together."""
    sides: Sequence[Side]


def few_seeds(tests: Sequence[Test], report: ReportStudy) -> list[FewSeeds | None]:
    """Return for each test what its verdict has to say of few seeds; None where false verdicts are no more frequent."""
    each = _inflations(tests)
    promised = bound(report.plans)
    chance = promised + _excess(tests, each)
    if chance <= promised * MOST_TIMES:
        return [None] * len(tests)
    return [
        _few_seeds(one.evidence, one.sides, one.level / len(each), (chance, promised), report)
        if one.evidence and each[one.key] > MOST_TIMES
        else None
        for one in tests
    ]


def _inflations(tests: Sequence[Test]) -> dict[Hashable, float]:
    """How many times more frequent than its level the false verdicts of each test are."""
    count = len({one.key for one in tests})
    levels = {one.key: (one.evidence, one.level / count) for one in tests}
    return {key: error_rate(evidence, level) / level if evidence else 0.0 for key, (evidence, level) in levels.items()}


def _excess(tests: Sequence[Test], each: Mapping[Hashable, float]) -> float:
    """By how much the chance of a false verdict in the study lies above what is promised, at most (Bonferroni)."""
    shares = {one.key: one.level / len(each) for one in tests}
    return sum(max(times - 1, 0.0) * shares[key] for key, times in each.items())


def _few_seeds(
    evidence: Evidence, compared: Sequence[Side], level: float, chances: tuple[float, float], report: ReportStudy
) -> FewSeeds:
    number, place = worst_part(evidence)
    # Statements about one estimate have the same cells; those of `best` compare the first side with one of the others.
    used = compared if len(evidence.statements) == 1 or len(compared) <= 2 else (compared[0], compared[1 + number])
    cell = [cell for side in used for cell in side.cells][place]
    parts = evidence.statements[number].estimate.parts
    others = [part.spread for at, part in enumerate(parts) if at != place]
    added = seeds_added(evidence, level)
    return FewSeeds(
        study=report.study.name,
        cell=cell,
        seeds=parts[place].n,
        most=max(part.n for part in parts),
        ratio=math.sqrt(parts[place].spread * len(others) / sum(others)),
        chance=chances[0],
        promised=chances[1],
        needed=None if added is None else parts[place].n + added,
        lost=sum(trial.cell == cell and _lost(trial.state, trial.done) for trial in report.trials),
        trials=_trials(added, report),
    )


def _lost(state: str, done: bool) -> bool:
    return state in FINAL_STATES and not done


def _trials(added: int | None, report: ReportStudy) -> int | None:
    if added is None or report.study.imported or report.study.search is not None:
        return None
    return max(Counter(trial.cell for trial in report.trials).values()) + added


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFewSeeds:
    """What few seeds leave open, where each test has one cell that is noisier: the one with the fewest seeds."""

    cell: str
    """The cell with the fewest, the first of them."""
    fewest: int
    most: int
    chance: float
    """Of any false verdict in the study, at the worst of `RATIOS`."""
    promised: float
    limit: float
    """Up to here nothing is told."""
    needed: int | None
    """Seeds that each cell has to be planned with, so that it is no longer told; None for very many."""


def planned_few_seeds(study: Study, seeds: Mapping[str, int], plans: Plans) -> PlannedFewSeeds | None:
    """Return what these seeds of each cell leave open; None if false verdicts are no more frequent than promised.

    A plan of several looks is asked of its first one, which has the fewest; with equal numbers it is not asked, as no
    further seeds mend its first look.
    """
    shares = levels(plans)
    first = min(shares, default=0)
    # A cell whose trials were all given up has none.
    known = {cell.name: seeds.get(cell.name, 0) for cell in study.cells}
    counts = {cell: min(count, first) if first else count for cell, count in known.items()}
    promised = bound(plans)

    def chance(more: int, ratio: float) -> float:
        tests = [
            _imagined(hypothesis, study, {cell: n + more for cell, n in counts.items()}, ratio)
            for hypothesis in study.hypotheses
        ]
        tests = [replace(one, level=shares[first] if first else ERROR_RATE) for one in tests]
        return promised + _excess(tests, _inflations(tests))

    compared = [cells_of(sides(hypothesis, study)) for hypothesis in study.hypotheses]
    unlike = [cells for cells in compared if len({counts[cell] for cell in cells}) > 1]
    if not compared or (plans and not unlike):
        return None
    limit = promised * (MOST_TIMES if unlike else _MOST_TIMES_OF_EQUAL)
    found = max(chance(0, ratio) for ratio in RATIOS)
    if found <= limit:
        return None
    tested = [cell for cells in unlike or compared for cell in cells]
    fewest = min(tested, key=counts.__getitem__)
    more = next((n for n in range(1, _MOST_ADDED) if max(chance(n, r) for r in RATIOS) <= limit), None)
    return PlannedFewSeeds(
        cell=fewest,
        fewest=counts[fewest],
        most=max(counts[cell] for cell in tested),
        chance=found,
        promised=promised,
        limit=limit,
        needed=None if more is None else max(seeds.values()) + more,
    )


def _imagined(hypothesis: Hypothesis, study: Study, seeds: Mapping[str, int], ratio: float) -> Test:
    """A test of cells with these seeds, of which the one with the fewest is `ratio` times as noisy as the others."""
    compared = sides(hypothesis, study)
    noisy = min(cells_of(compared), key=seeds.__getitem__)

    def side(number: int, mean: float) -> list[Sample]:
        return [
            expected(MIDDLE + mean, COMMON_SD * (ratio if cell == noisy else 1), seeds[cell])
            for cell in compared[number].cells
        ]

    enough = min(seeds[cell] for cell in cells_of(compared)) >= FEWEST_SEEDS
    found = imagined(hypothesis, side, len(compared), 0.0) if enough else None
    return Test(key_of_test(hypothesis, compared), found, ERROR_RATE, compared)
