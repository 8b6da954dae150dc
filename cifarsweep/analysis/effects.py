"""Main effects of crossed factors, and which of their interactions are larger than the noise.

A hypothesis is judged by its verdict alone; these numbers describe what the factors did, for readers without one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from cifarsweep.analysis.effect_records import (
    Change,
    Effects,
    Interaction,
    LevelDifference,
    LevelMean,
    MainEffect,
    MarginalMean,
)
from cifarsweep.analysis.floors import accuracy_floor
from cifarsweep.analysis.noisy_cells import noisy_cell
from cifarsweep.analysis.outcomes import compared_by_seed, fallen_out
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.samples import DoneTrials, level_of, look_at, match_cells
from cifarsweep.spec.levels import level_key
from cifarsweep.spec.metrics import bounds, is_share
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import FINAL_STATES, Value
from cifarsweep.stats import Floats
from cifarsweep.stats.estimate import satterthwaite
from cifarsweep.stats.factorial import (
    FTest,
    Spread,
    interaction,
    interval,
    largest_change,
    mean_variance,
    pooled_spread,
    unlike_interaction,
    variance_of,
)
from cifarsweep.stats.multiplicity import holm

#: A pair of factors of which one has more levels is not tested.
MOST_LEVELS = 24


@dataclass(frozen=True, slots=True)
class _CellValues:
    """A cell with a result: the final values that stand for it, one a seed."""

    cell: Cell
    values: tuple[float, ...]
    variance: float = 0.0
    """Of one run, with its degrees of freedom, where each cell counts with a spread of its own. Cells of one run, and
    those that did not train, have the pooled one."""
    df: int = 0

    @property
    def mean(self) -> float:
        return fmean(self.values)


@dataclass(frozen=True, slots=True)
class _Noise:
    """What differences are held against."""

    spread: Spread | None
    metric: str
    level: float
    """See `Effects.level`."""
    tested: bool
    """Whether a look is complete."""


#: Cells by the numbers of their levels of the factors that are asked for.
_Groups = dict[tuple[int, ...], list[_CellValues]]


def effects(report: ReportStudy) -> Effects | None:
    """Average every factor over the others and test every pair; None if fewer than two factors can be averaged so.

    Failed trials have no result; of a cell some of whose runs fell out the others count, as in all results.
    """
    study = report.study
    factors = {key: levels for key, levels in study.factors.items() if len(levels) > 1}
    if study.search is not None or len(factors) < 2:
        return None
    names = frozenset(cell.name for cell in study.cells)
    done = _done(report)
    look = look_at(names, done, report)
    trials = look.trials if look else done
    cells = _values(study, trials)
    untrained = tuple(one.cell.name for one in cells if fallen_out(trials[one.cell.name].values()).every)
    cells, spread = _with_spread(report, trials, cells, untrained)
    noise = _Noise(spread, study.metric, level_of(look, report), tested=look is not None)
    grouped = {key: _grouped(cells, factors, (key,)) for key in factors}
    averaged = {key: matched for key, groups in grouped.items() if len(matched := _matched(groups, (key,))) > 1}
    if len(averaged) < 2:
        return None
    comparisons = sum(math.comb(len(groups), 2) for groups in averaged.values())
    pairs = [
        _interaction(groups, factors, pair, noise)
        for pair in combinations(factors, 2)
        if all(len(factors[key]) <= MOST_LEVELS for key in pair) and _cross(groups := _grouped(cells, factors, pair))
    ]
    seeds = [len(one.values) for one in cells]
    spreads = {one.cell.name: (one.variance, len(one.values)) for one in cells if one.cell.name not in untrained}
    return Effects(
        metric=study.metric,
        factors=tuple(
            _main_effect(key, factors[key], groups, _count(grouped[key]), noise, comparisons)
            for key, groups in averaged.items()
        ),
        interactions=_corrected([pair for pair in pairs if pair], noise),
        apart=tuple(key for key, groups in grouped.items() if len(groups) > 1 and key not in averaged),
        spread=spread,
        seeds=(min(seeds), max(seeds)),
        level=noise.level,
        comparisons=comparisons,
        open_trials=sum(trial.state not in FINAL_STATES for trial in report.trials if trial.cell in names),
        preliminary=not noise.tested,
        untrained=untrained,
        noisy=noisy_cell([pair.test for pair in pairs if pair and pair.test], spreads, noise.level)
        if noise.tested
        else None,
    )


def _done(report: ReportStudy) -> DoneTrials:
    done: dict[str, dict[int, ReportTrial]] = {}
    for trial in report.trials:
        if trial.done:
            done.setdefault(trial.cell, {})[trial.seed] = trial
    return done


def _values(study: Study, trials: DoneTrials) -> list[_CellValues]:
    """The cells that have a result, in the order of the study."""
    counted = compared_by_seed(trials)
    found = []
    for cell in study.cells:
        known = (trial.last(study.metric) for trial in counted.get(cell.name, {}).values())
        if values := tuple(value for value in known if value is not None):
            found.append(_CellValues(cell, values))
    return found


def _with_spread(
    report: ReportStudy, trials: DoneTrials, cells: Sequence[_CellValues], untrained: Collection[str]
) -> tuple[list[_CellValues], Spread | None]:
    """The cells, and the spread of the runs of those that trained; where spreads are unlike, each with its own."""
    metric = report.study.metric
    share = is_share(metric)
    floors = [accuracy_floor(trials[one.cell.name].values(), report, metric) if share else 0.0 for one in cells]
    trained = [one.cell.name not in untrained for one in cells]
    spread = pooled_spread(
        [one.values for one, counts in zip(cells, trained, strict=True) if counts],
        [floor for floor, counts in zip(floors, trained, strict=True) if counts],
    )
    if spread is None or not spread.unlike:
        return list(cells), spread
    scale = max(abs(value) for one in cells for value in one.values)
    return [
        replace(one, variance=variance_of(one.values, floor, scale), df=len(one.values) - 1)
        if counts and len(one.values) > 1
        else replace(one, variance=spread.sd**2, df=spread.df)
        for one, floor, counts in zip(cells, floors, trained, strict=True)
    ], spread


def _grouped(cells: Sequence[_CellValues], factors: Mapping[str, Sequence[Value]], keys: Collection[str]) -> _Groups:
    """The cells that have a level of each of these factors, by the numbers of these levels, in order."""
    numbers = {key: {level_key(level): number for number, level in enumerate(factors[key])} for key in keys}
    groups: _Groups = {}
    for one in cells:
        at = [numbers[key].get(level_key(one.cell.levels[key])) for key in keys if key in one.cell.levels]
        place = tuple(number for number in at if number is not None)
        if len(place) == len(keys):
            groups.setdefault(place, []).append(one)
    return dict(sorted(groups.items()))


def _cross(groups: _Groups) -> bool:
    """Whether two rows share two columns or more; of factors that were varied one at a time, one row has several."""
    return sum(count > 1 for count in Counter(place[0] for place in groups).values()) > 1


def _matched(groups: _Groups, keys: Collection[str]) -> _Groups:
    """Keep cells that have a counterpart in every group: elsewhere another factor might make the difference."""
    if not groups:
        return {}
    kept = match_cells([[one.cell for one in group] for group in groups.values()], keys)
    names = {cell.name for group in kept for cell in group}
    found = {place: [one for one in group if one.cell.name in names] for place, group in groups.items()}
    return found if all(found.values()) else {}


def _error(groups: Sequence[Sequence[_CellValues]], spread: Spread) -> tuple[float, float]:
    """The standard error of a difference of the means of these groups, or of one mean, and its degrees of freedom."""
    if not spread.unlike:
        variance = sum(mean_variance([len(one.values) for one in group]) for group in groups)
        return spread.sd * math.sqrt(variance), spread.df
    parts = [(one.variance / len(one.values) / len(group) ** 2, one.df + 1) for group in groups for one in group]
    error, df = satterthwaite(*zip(*parts, strict=True))
    return float(error), float(df)


def _mean(cells: Sequence[_CellValues], noise: _Noise) -> MarginalMean:
    mean, seeds, found = fmean(one.mean for one in cells), sum(len(one.values) for one in cells), None
    if noise.spread:
        found = interval(mean, *_error([cells], noise.spread)).within(*bounds(noise.metric))
    return MarginalMean(mean, found, len(cells), seeds)


def _main_effect(
    factor: str, levels: Sequence[Value], groups: _Groups, cells: int, noise: _Noise, comparisons: int
) -> MainEffect:
    """`groups` are matched, of so many cells."""
    means = {number: _mean(group, noise) for (number,), group in groups.items()}
    high, low = max(means, key=lambda number: means[number].mean), min(means, key=lambda number: means[number].mean)
    value, found = means[high].mean - means[low].mean, None
    if noise.spread:
        error = _error([groups[high,], groups[low,]], noise.spread)
        found = interval(value, *error, noise.level / comparisons)
        found = found.within(-1.0, 1.0) if is_share(noise.metric) else found
    larger = noise.tested and found is not None and found.low > 0
    return MainEffect(
        factor=factor,
        levels=tuple(LevelMean(levels[number], mean) for number, mean in means.items()),
        furthest=LevelDifference(levels[high], levels[low], value, found, larger),
        left_out=cells - _count(groups),
    )


def _interaction(
    groups: _Groups, factors: Mapping[str, Sequence[Value]], pair: tuple[str, str], noise: _Noise
) -> Interaction | None:
    """None if no place has a cell that all others have too."""
    matched = _matched(groups, pair)
    if not matched:
        return None
    rows, columns = factors[pair[0]], factors[pair[1]]
    found = [
        [
            _mean(matched[place], noise) if (place := (row, column)) in matched else None
            for column, _ in enumerate(columns)
        ]
        for row, _ in enumerate(rows)
    ]
    means = np.full((len(rows), len(columns)), np.nan)
    for at, cells in matched.items():
        means[at] = fmean(one.mean for one in cells)
    first = next(iter(matched.values()))
    return Interaction(
        rows=pair[0],
        columns=pair[1],
        row_levels=tuple(rows),
        column_levels=tuple(columns),
        means=tuple(map(tuple, found)),
        left_out=_count(groups) - _count(matched),
        alone={key: level for key, level in first[0].cell.levels.items() if key not in pair} if len(first) == 1 else {},
        change=_change(means, rows, columns),
        test=_test(means, matched, noise.spread) if noise.spread else None,
    )


def _test(means: Floats, groups: _Groups, spread: Spread) -> FTest | None:
    """Test the means of these groups, which stand at their places."""
    variances, df = np.full((2, *means.shape), np.nan)
    for at, cells in groups.items():
        if spread.unlike:
            error, df[at] = _error([cells], spread)
            variances[at] = error**2
        else:
            variances[at] = mean_variance([len(one.values) for one in cells])
    return unlike_interaction(means, variances, df) if spread.unlike else interaction(means, variances, spread)


def _change(means: Floats, rows: Sequence[Value], columns: Sequence[Value]) -> Change | None:
    found = largest_change(means)
    if found is None:
        return None
    _, (high, low), (there, here) = found
    if means[high, there] - means[low, there] < means[low, here] - means[high, here]:
        # The same change, told from the column where the two rows lie further apart.
        high, low, there, here = low, high, here, there
    gaps = (float(means[high, column] - means[low, column]) for column in (there, here))
    return Change(rows[high], rows[low], columns[there], columns[here], *gaps)


def _count(groups: _Groups) -> int:
    return sum(map(len, groups.values()))


def _corrected(pairs: Sequence[Interaction], noise: _Noise) -> tuple[Interaction, ...]:
    """Correct the p of all pairs that have a test for one another."""
    p = holm([pair.test.p for pair in pairs if pair.test])
    corrected = iter(p)
    return tuple(
        replace(pair, corrected=(one := next(corrected)), larger=one <= noise.level)
        if pair.test and noise.tested
        else pair
        for pair in pairs
    )
