"""Selects what a hypothesis is tested on: the sides, the trials that count, and one number for each cell and seed.

A reader who watches the numbers come in, and stops when they please, finds differences that are not there. So a
hypothesis is tested on the seeds of a look that was planned, and only when no trial of its cells is open among them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cifarsweep.analysis.floors import floor_of
from cifarsweep.analysis.moments import as_of
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.spec.cell_names import is_named_as_before
from cifarsweep.spec.hypothesis import Best, Faster, Hypothesis, Trend, moment_of, selectors
from cifarsweep.spec.levels import cell_name, level_key, level_text, same_level
from cifarsweep.spec.metrics import EPOCH, VAL_ACCURACY, VAL_LOSS, is_loss
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.study import Cell, Study, select
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats.estimate import Sample
from cifarsweep.stats.evidence import Reached
from cifarsweep.stats.multiplicity import ERROR_RATE, level_after, levels

#: Trials that are done, by cell and seed.
DoneTrials = Mapping[str, Mapping[int, ReportTrial]]

_NEVER = Reached(math.inf, reached=False)


@dataclass(frozen=True, slots=True)
class Side:
    """The cells of one side of a comparison; its value is the mean of their means."""

    role: str
    """What the hypothesis calls it: `a`, `b`, or a level of its factor."""
    label: str
    cells: tuple[str, ...]
    matched: bool
    """Whether these cells and those of the other sides differ in nothing but what the hypothesis names."""


def sides(hypothesis: Hypothesis, study: Study) -> list[Side]:
    """What is compared: `a` and `b`, or the levels of a factor, that of `best` first, those of `trend` in order.

    Cells count if they have a counterpart on every other side. If none has, all cells count and are not `matched`.
    """
    if hypothesis.kind == "best" or hypothesis.kind == "trend":
        return _levels(hypothesis, study)
    chosen, as_before = selectors(hypothesis), is_named_as_before(study)
    named = {key for selector in chosen.values() if not isinstance(selector, str) for key in selector}
    labels = [
        one if isinstance(one, str) else cell_name(one, list(one), as_before=as_before) for one in chosen.values()
    ]
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
    labels = [cell_name({factor: level}, [factor], as_before=is_named_as_before(study)) for level in levels]
    groups = [cells[level_key(level)] for level in levels]
    return _sides([level_text(level) for level in levels], labels, groups, {factor})


def _sides(
    roles: Sequence[str], labels: Sequence[str], groups: Sequence[Sequence[Cell]], named: Collection[str]
) -> list[Side]:
    # Arms are compared as they are named.
    like = match_cells(groups, named) if named and all(groups) else groups
    matched = all(like)
    names = [tuple(cell.name for cell in group) for group in (like if matched else groups)]
    return [Side(role, label, cells, matched) for role, label, cells in zip(roles, labels, names, strict=True)]


def match_cells(groups: Sequence[Sequence[Cell]], named: Collection[str]) -> list[list[Cell]]:
    """Select from each group the cells with a counterpart in every other: equal in all that varies but is not named.

    Only settings that all cells have count: whether a model has a setting follows from its family.
    """
    keys = set.intersection(*(set(cell.levels) for group in groups for cell in group)).difference(named)
    rests = [[_rest(cell, keys) for cell in group] for group in groups]
    common = set.intersection(*map(set, rests))
    return [
        [cell for cell, rest in zip(group, own, strict=True) if rest in common]
        for group, own in zip(groups, rests, strict=True)
    ]


def _rest(cell: Cell, keys: Collection[str]) -> Hashable:
    return frozenset((key, level_key(cell.levels[key])) for key in keys)


def cells_of(compared: Sequence[Side]) -> tuple[str, ...]:
    """The names of the cells of all sides."""
    return tuple(dict.fromkeys(name for side in compared for name in side.cells))


def named_cells(study: Study) -> frozenset[str]:
    """The names of the cells that any hypothesis is tested on, or that a reported number or run is of."""
    tested = (name for hypothesis in study.hypotheses for name in cells_of(sides(hypothesis, study)))
    runs = study.reported_runs.runs if study.reported_runs else ()
    return frozenset((*tested, *(fact.cell for fact in study.reported), *runs))


def metrics_needed(study: Study) -> list[str]:
    """The metrics whose curves are needed to test the hypotheses, and what reported numbers are held against."""
    races = [hypothesis for hypothesis in study.hypotheses if hypothesis.kind == "faster"]
    raced = {name for race in races for name in (race.metric, race.by) if name != "steps"}
    read = {name for fact in study.reported if curve_needed(fact, study) for name in (fact.metric, EPOCH, study.metric)}
    read |= {name for test in study.hypotheses if moment_of(test) for name in (test.metric, EPOCH, study.metric)}
    read |= {study.metric, EPOCH} if study.reported_runs else set()
    return sorted(raced | read)


def curve_needed(fact: Reported, study: Study) -> bool:
    """Whether the final values of the study's trials do not tell what was found of a reported number."""
    return fact.needs_curve or (study.final.mean_of > 1 and fact.metric in (study.metric, VAL_ACCURACY, VAL_LOSS))


def done_trials(report: ReportStudy, hypothesis: Hypothesis) -> DoneTrials:
    """The trials that are done, by cell and seed, as of the moment that the hypothesis names.

    Failed trials have no result.
    """
    done: dict[str, dict[int, ReportTrial]] = {}
    for trial in report.trials:
        if trial.done:
            done.setdefault(trial.cell, {})[trial.seed] = as_of(trial, hypothesis, report)
    return done


def seed_order(study: Study, count: int) -> tuple[int, ...]:
    """The seeds of the study, continued with new whole numbers up to `count` seeds."""
    following = range(max(study.seeds) + 1, max(study.seeds) + 1 + max(0, count - len(study.seeds)))
    return (*study.seeds, *following)


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the trials of some cells."""

    seeds: int | None
    """The planned number of seeds; None without a plan."""
    trials: DoneTrials


def look_at(cells: Collection[str], done: DoneTrials, report: ReportStudy) -> Look | None:
    """The look that a hypothesis about these cells is tested at; None if it has to wait.

    Under a plan, this is the last complete look. Later trials do not count: a number of seeds that was not planned
    could give a verdict that the next look does not. Without a plan, all trials count.
    """
    open_seeds = {trial.seed for trial in report.trials if trial.cell in cells and trial.state not in FINAL_STATES}
    if not report.looks:
        return None if open_seeds else Look(None, done)
    there = {(trial.cell, trial.seed) for trial in report.trials}
    for look in reversed(report.looks):
        seeds = seed_order(report.study, look)[:look]
        if open_seeds.isdisjoint(seeds) and there.issuperset((cell, seed) for cell in cells for seed in seeds):
            kept = {
                cell: {seed: trial for seed, trial in trials.items() if seed in seeds} for cell, trials in done.items()
            }
            return Look(look, kept)
    return None


def level_of(look: Look | None, report: ReportStudy) -> float:
    """The chance of a false verdict that this look may add; of the next one that is planned, where none is complete."""
    if not report.plans:
        return ERROR_RATE
    return levels(report.plans)[look.seeds] if look and look.seeds else level_after(report.plans, 0)


def trials_by_seed(side: Side, done: DoneTrials) -> dict[int, list[ReportTrial]]:
    """The trials of each seed for which all cells of the side are done."""
    cells = [done.get(cell, {}) for cell in side.cells]
    shared = set.intersection(*(set(cell) for cell in cells)) if cells else set()
    return {seed: [cell[seed] for cell in cells] for seed in sorted(shared)}


def side_trials(side: Side, done: DoneTrials) -> list[ReportTrial]:
    """All trials of the side that are done."""
    return [trial for cell in side.cells for trial in done.get(cell, {}).values()]


def pending_seeds(compared: Sequence[Side], report: ReportStudy) -> int:
    """By how many seeds the cell with the fewest will have more, once all open trials are done."""
    done = [trial.cell for trial in report.trials if trial.done]
    pending = [trial.cell for trial in report.trials if trial.state not in FINAL_STATES]
    cells = cells_of(compared)
    now, then = Counter(done), Counter([*done, *pending])
    return min(then[cell] for cell in cells) - min(now[cell] for cell in cells)


def last_values(side: Side, done: DoneTrials, hypothesis: Hypothesis, report: ReportStudy) -> list[Sample]:
    """The last values of each cell of the side."""
    samples = []
    for cell in side.cells:
        trials = done.get(cell, {}).values()
        values = [trial.last(hypothesis.metric) for trial in trials]
        known = tuple(value for value in values if value is not None)
        samples.append(Sample(known, floor_of(trials, hypothesis, report)))
    return samples


def seed_means(side: Side, done: DoneTrials, hypothesis: Hypothesis, report: ReportStudy) -> Sample:
    """The mean over the side's cells of the last value, for each seed that all of them have.

    For a test against a number, since cells of a side could share what a seed does.
    """
    means = []
    for trials in trials_by_seed(side, done).values():
        values = [value for trial in trials if (value := trial.last(hypothesis.metric)) is not None]
        if len(values) == len(trials):
            means.append(sum(values) / len(values))
    floors = [floor_of(done.get(cell, {}).values(), hypothesis, report) for cell in side.cells]
    return Sample(tuple(means), sum(floors) / len(floors) ** 2)


def without_value(compared: Sequence[Side], done: DoneTrials, metric: str) -> int:
    """The number of done trials whose last value does not count, as it is not finite: the loss of diverged ones."""
    trials = [trial for side in compared for cell in side.cells for trial in done.get(cell, {}).values()]
    return sum(metric in trial.final and trial.ended_with(metric) is None for trial in trials)


def chance_of(side: Side, report: ReportStudy) -> float | None:
    """The accuracy of a guess, as the trials recorded it, else 1 / classes; None if unknown, or unlike in its cells."""
    guesses = {trial.guess for trial in report.trials if trial.cell in side.cells and trial.done and trial.guess}
    shares = {guess.share for guess in guesses if guess.recorded} or {guess.share for guess in guesses}
    if shares:
        return shares.pop() if len(shares) == 1 else None
    own = [cell.own_settings for cell in report.study.cells if cell.name in side.cells]
    counts = {report.classes.get(settings.dataset) if settings else None for settings in own}
    count = counts.pop() if len(counts) == 1 else None
    return 1 / count if count else None


def times_to(side: Side, done: DoneTrials, report: ReportStudy, hypothesis: Faster) -> list[list[Reached]]:
    """When the trials of each cell reached the target."""
    return [
        [time for trial in done.get(cell, {}).values() if (time := _time_to(trial, report, hypothesis)) is not None]
        for cell in side.cells
    ]


def _time_to(trial: ReportTrial, report: ReportStudy, hypothesis: Faster) -> Reached | None:
    """The first evaluation of a trial that reached the target, else its last one. A loss reaches it from above.

    A trial that diverged before never reaches it.
    """
    series = report.series.get((trial.number, hypothesis.metric))
    axis = report.series.get((trial.number, hypothesis.by)) if hypothesis.by != "steps" else series
    if series is None or axis is None or not series[0].size or not axis[0].size:
        return _NEVER if trial.diverged else None
    steps, values = series
    times = steps.astype(np.float64) if hypothesis.by == "steps" else np.interp(steps, *axis)
    there = values <= hypothesis.target if is_loss(hypothesis.metric) else values >= hypothesis.target
    place = int(np.argmax(there)) if there.any() else len(steps) - 1
    at, before, end = float(times[place]), float(times[place - 1]) if place else 0.0, float(times[-1])
    if trial.diverged and not there.any():
        return Reached(math.inf, reached=False, end=end)
    return Reached(at, bool(there.any()), step=at - before, end=end) if at > 0 else None
