"""What a hypothesis is tested on: the trials that count, and for each side that it names, one number a seed.

A reader who watches the numbers come in, and stops when they please, finds differences that are not there. So a
hypothesis is tested on the seeds of a look that was planned, and only when no trial of its cells is open among them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.spec.hypothesis import Best, Faster, Hypothesis, Trend, selectors
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.study import Cell, Study, cell_name, level_key, level_text, same_level, select
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats.estimate import FEWEST_SEEDS, paired_seeds
from cifarsweep.stats.evidence import Reached

T = TypeVar("T")

#: Trials that are done, by cell and seed.
Done = Mapping[str, Mapping[int, ReportTrial]]


_NEVER = Reached(math.inf, False)


@dataclass(frozen=True, slots=True)
class Side:
    """Cells that stand for one side of a comparison; each seed counts with their mean."""

    role: str
    """What the hypothesis calls it: `a`, `b`, or a level of its factor."""
    label: str
    cells: tuple[str, ...]
    matched: bool
    """Whether they agree with those of the other sides in all that is varied, beside what the hypothesis names."""


def sides(hypothesis: Hypothesis, study: Study) -> list[Side]:
    """What is compared: `a` and `b`, or the levels of a factor, that of `best` first, those of `trend` in order.

    Of each side those cells count that have a counterpart on every other; where none has, all of them, not `matched`.
    """
    if hypothesis.kind == "best" or hypothesis.kind == "trend":
        return _levels(hypothesis, study)
    chosen = selectors(hypothesis)
    named = {key for selector in chosen.values() if not isinstance(selector, str) for key in selector}
    labels = [one if isinstance(one, str) else cell_name(one, list(one)) for one in chosen.values()]
    groups = [select(study.cells, selector) for selector in chosen.values()]
    return _sides(list(chosen), labels, groups, named)


def _levels(hypothesis: Best | Trend, study: Study) -> list[Side]:
    factor = hypothesis.factor
    cells: dict[Hashable, list[Cell]] = {}
    for cell in study.cells:
        if factor in cell.levels:
            cells.setdefault(level_key(cell.levels[factor]), []).append(cell)
    levels = [level for level in study.factors[factor] if level_key(level) in cells]
    if hypothesis.kind == "best":
        levels.sort(key=lambda level: not same_level(level, hypothesis.level))
    labels = [cell_name({factor: level}, [factor]) for level in levels]
    return _sides([level_text(level) for level in levels], labels, [cells[level_key(one)] for one in levels], {factor})


def _sides(
    roles: Sequence[str], labels: Sequence[str], groups: Sequence[Sequence[Cell]], named: Collection[str]
) -> list[Side]:
    # Sides that name no setting, but arms, are meant as they are.
    like = match_cells(groups, named) if named and all(groups) else groups
    matched = all(like)
    names = [tuple(cell.name for cell in group) for group in (like if matched else groups)]
    return [Side(*each, matched) for each in zip(roles, labels, names, strict=True)]


def match_cells(groups: Sequence[Sequence[Cell]], named: Collection[str]) -> list[list[Cell]]:
    """Of each group the cells with a counterpart in every other, equal in all that is varied but not named.

    What one family of models does not have follows from its name, so that only settings which all of them have count.
    """
    keys = set.intersection(*(set(cell.levels) for group in groups for cell in group)).difference(named)
    rests = [{_rest(cell, keys) for cell in group} for group in groups]
    common = set.intersection(*rests)
    return [[cell for cell in group if _rest(cell, keys) in common] for group in groups]


def _rest(cell: Cell, keys: Collection[str]) -> Hashable:
    return frozenset((key, level_key(cell.levels[key])) for key in keys)


def cells_of(compared: Sequence[Side]) -> tuple[str, ...]:
    """The names of all cells of the sides."""
    return tuple(dict.fromkeys(name for side in compared for name in side.cells))


def named_cells(study: Study) -> frozenset[str]:
    """The names of the cells that any hypothesis is tested on."""
    return frozenset(name for hypothesis in study.hypotheses for name in cells_of(sides(hypothesis, study)))


def metrics_needed(study: Study) -> list[str]:
    """The curves without which the hypotheses of the study can't be tested."""
    races = [hypothesis for hypothesis in study.hypotheses if hypothesis.kind == "faster"]
    return sorted({name for race in races for name in (race.metric, race.by) if name != "steps"})


def done_trials(report: ReportStudy) -> Done:
    """The trials that are done; those that failed have no result, and no seed of theirs counts."""
    found: dict[str, dict[int, ReportTrial]] = {}
    for trial in report.trials:
        if trial.done:
            found.setdefault(trial.cell, {})[trial.seed] = trial
    return found


def seed_order(study: Study, count: int) -> tuple[int, ...]:
    """The seeds of the study, and after them whole numbers that none of them is."""
    following = range(max(study.seeds) + 1, max(study.seeds) + 1 + max(0, count - len(study.seeds)))
    return (*study.seeds, *following)


def trials_at_look(cells: Collection[str], done: Done, report: ReportStudy) -> Done | None:
    """The trials to test a hypothesis on these cells on; None where it has to wait.

    Under a plan those of the last look that is complete, whatever has come since: what decides at a number of seeds
    that nobody planned may be decided otherwise at the next look. Without one, all of them.
    """
    open_seeds = {trial.seed for trial in report.trials if trial.cell in cells and trial.state not in FINAL_STATES}
    if not report.looks:
        return None if open_seeds else done
    there = {(trial.cell, trial.seed) for trial in report.trials}
    for look in reversed(report.looks):
        seeds = seed_order(report.study, look)[:look]
        if open_seeds.isdisjoint(seeds) and there.issuperset((cell, seed) for cell in cells for seed in seeds):
            return {
                cell: {seed: trial for seed, trial in trials.items() if seed in seeds} for cell, trials in done.items()
            }
    return None


def trials_by_seed(side: Side, done: Done) -> dict[int, list[ReportTrial]]:
    """The trials of each seed that all cells of the side are done with."""
    cells = [done.get(cell, {}) for cell in side.cells]
    shared = set.intersection(*(set(cell) for cell in cells)) if cells else set()
    return {seed: [cell[seed] for cell in cells] for seed in sorted(shared)}


def pending_seeds(compared: Sequence[Side], report: ReportStudy) -> int:
    """Seeds that all cells of the sides have trials of, some of them not finished: pairs, where the sides share any."""
    done = [trial for trial in report.trials if trial.done]
    waiting = [trial for trial in report.trials if trial.state not in FINAL_STATES]
    return _pairs(compared, [*done, *waiting]) - _pairs(compared, done)


def _pairs(compared: Sequence[Side], trials: Sequence[ReportTrial]) -> int:
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.cell, set()).add(trial.seed)
    sides = [set.intersection(*(seeds.get(cell, set()) for cell in side.cells)) for side in compared]
    paired = len(set.intersection(*sides))
    fewest = min(map(len, sides))
    return paired if paired >= FEWEST_SEEDS or (paired and fewest < FEWEST_SEEDS) else fewest


def last_values(side: Side, done: Done, metric: str) -> dict[int, float]:
    """The mean over the side's cells of the last value, by seed."""
    found = {}
    for seed, trials in trials_by_seed(side, done).items():
        values = [value for trial in trials if (value := trial.last(metric)) is not None]
        if len(values) == len(trials):
            found[seed] = sum(values) / len(values)
    return found


def tested(*values: dict[int, T]) -> list[dict[int, T]]:
    """Of each side the seeds that count: of two the pairs, where there are enough; of more those that all have."""
    if len(values) == 1:
        return list(values)
    seeds = paired_seeds(*values) if len(values) == 2 else set.intersection(*map(set, values))
    return [{seed: side[seed] for seed in side if seed in seeds} if seeds else side for side in values]


def log_times(side: Side, done: Done) -> dict[int, float]:
    """The logarithm of the training time by seed: the mean over the side's cells.

    A seed with a trial that diverged or was pruned is left out: such a trial ended early.
    """
    found = {}
    for seed, trials in trials_by_seed(side, done).items():
        times = [trial.elapsed_s for trial in trials if trial.elapsed_s and trial.trained]
        if len(times) == len(trials):
            found[seed] = sum(map(math.log, times)) / len(times)
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
        times = [time for trial in trials if (time := _time_to(trial, report, hypothesis)) is not None]
        if len(times) == len(trials):
            at = math.exp(sum(math.log(time.at) for time in times) / len(times))
            found[seed] = Reached(at, all(time.reached for time in times))
    return found


def _time_to(trial: ReportTrial, report: ReportStudy, hypothesis: Faster) -> Reached | None:
    """Of one trial: the first evaluation at the target, else the last one; a loss comes to its target from above.

    One that diverged before it was there never will be.
    """
    series = report.series.get((trial.number, hypothesis.metric))
    axis = report.series.get((trial.number, hypothesis.by)) if hypothesis.by != "steps" else series
    if series is None or axis is None or not series[0].size or not axis[0].size:
        return _NEVER if trial.diverged else None
    steps, values = series
    there = values <= hypothesis.target if is_loss(hypothesis.metric) else values >= hypothesis.target
    if trial.diverged and not there.any():
        return _NEVER
    step = float(steps[int(np.argmax(there))] if there.any() else steps[-1])
    at = step if hypothesis.by == "steps" else float(np.interp(step, *axis))
    return Reached(at, bool(there.any())) if at > 0 else None
