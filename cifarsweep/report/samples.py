"""What a hypothesis is tested on: for each side that it names, one number a seed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cifarsweep.report.source import ReportStudy, ReportTrial
from cifarsweep.spec.hypothesis import Best, Faster, Hypothesis, Trend, selectors
from cifarsweep.spec.study import Cell, Study, cell_name, level_key, select
from cifarsweep.spec.words import Value
from cifarsweep.stats.evidence import Reached

#: Trials that are done, by cell and seed.
Done = Mapping[str, Mapping[int, ReportTrial]]


@dataclass(frozen=True, slots=True)
class Side:
    """Cells that stand for one side of a comparison; each seed counts with their mean."""

    label: str
    cells: tuple[str, ...]


def sides(hypothesis: Hypothesis, study: Study) -> list[Side]:
    """What is compared: `a` and `b`, or the levels of a factor, that of `best` first, those of `trend` in order."""
    if hypothesis.kind == "best" or hypothesis.kind == "trend":
        return _levels(hypothesis, study)
    return [
        Side(
            selector if isinstance(selector, str) else cell_name(selector, list(selector)),
            tuple(cell.name for cell in select(study.cells, selector)),
        )
        for selector in selectors(hypothesis).values()
    ]


def _levels(hypothesis: Best | Trend, study: Study) -> list[Side]:
    """Each level with those of its cells that differ from a cell of every other level in nothing but the factor."""
    factor = hypothesis.factor
    rows: dict[Hashable, dict[Hashable, str]] = {}
    values: dict[Hashable, Value] = {}
    for cell in study.cells:
        if factor in cell.levels:
            level = level_key(cell.levels[factor])
            values.setdefault(level, cell.levels[factor])
            rows.setdefault(level, {}).setdefault(_rest(cell, factor), cell.name)
    order = [key for level in study.factors[factor] if (key := level_key(level)) in rows]
    common = set.intersection(*(set(rows[level]) for level in order))
    if hypothesis.kind == "best":
        best = level_key(hypothesis.level)
        order.sort(key=lambda level: level != best)
    return [
        Side(
            cell_name({factor: values[level]}, [factor]),
            tuple(name for rest, name in rows[level].items() if rest in common or not common),
        )
        for level in order
    ]


def _rest(cell: Cell, factor: str) -> Hashable:
    return frozenset((key, level_key(level)) for key, level in cell.levels.items() if key != factor)


def done_trials(report: ReportStudy) -> Done:
    """The trials that are done; those that failed have no result, and no seed of theirs counts."""
    found: dict[str, dict[int, ReportTrial]] = {}
    for trial in report.trials:
        if trial.done:
            found.setdefault(trial.cell, {})[trial.seed] = trial
    return found


def trials_by_seed(side: Side, done: Done) -> dict[int, list[ReportTrial]]:
    """The trials of each seed that all cells of the side are done with."""
    cells = [done.get(cell, {}) for cell in side.cells]
    shared = set.intersection(*(set(cell) for cell in cells)) if cells else set()
    return {seed: [cell[seed] for cell in cells] for seed in sorted(shared)}


def last_values(side: Side, done: Done, metric: str) -> dict[int, float]:
    """The mean over the side's cells of the last value, by seed."""
    found = {}
    for seed, trials in trials_by_seed(side, done).items():
        values = [value for trial in trials if (value := trial.last(metric)) is not None]
        if len(values) == len(trials):
            found[seed] = sum(values) / len(values)
    return found


def without_value(compared: Sequence[Side], done: Done, metric: str) -> int:
    """Trials that are done with a value that is not finite, such as the loss of those that diverged."""
    trials = [trial for side in compared for cell in side.cells for trial in done.get(cell, {}).values()]
    return sum(metric in trial.final and not math.isfinite(trial.final[metric]) for trial in trials)


def chance_of(side: Side, report: ReportStudy) -> float | None:
    """The accuracy of a guess; None where the number of classes is not known here, or differs between the cells."""
    datasets = {cell.settings.dataset for cell in report.study.cells if cell.name in side.cells}
    counts = {report.classes.get(dataset) for dataset in datasets}
    count = counts.pop() if len(counts) == 1 else None
    return 1 / count if count else None


def times_to(side: Side, done: Done, report: ReportStudy, hypothesis: Faster) -> dict[int, Reached]:
    """When each seed came to the target: the geometric mean over the cells, reached where all of them were."""
    found = {}
    for seed, trials in trials_by_seed(side, done).items():
        times = [time for trial in trials if (time := _time_to(trial.number, report, hypothesis)) is not None]
        if len(times) == len(trials):
            at = math.exp(sum(math.log(time.at) for time in times) / len(times))
            found[seed] = Reached(at, all(time.reached for time in times))
    return found


def _time_to(number: int, report: ReportStudy, hypothesis: Faster) -> Reached | None:
    """Of one trial: the first evaluation at the target, else the last one; a loss comes to its target from above."""
    series = report.series.get((number, hypothesis.metric))
    axis = report.series.get((number, hypothesis.by)) if hypothesis.by != "steps" else series
    if series is None or axis is None or not series[0].size or not axis[0].size:
        return None
    steps, values = series
    there = values <= hypothesis.target if hypothesis.metric.endswith("loss") else values >= hypothesis.target
    step = float(steps[int(np.argmax(there))] if there.any() else steps[-1])
    at = step if hypothesis.by == "steps" else float(np.interp(step, *axis))
    return Reached(at, bool(there.any())) if at > 0 else None
