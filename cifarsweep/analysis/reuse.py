"""What trials took over from others: the costs of a study with each step counted once, and what is compared twice.

A trial that took over its first steps has their rows, their time and their energy, as if it had trained alone. So a sum
over trials has to leave them out, and two trials that have them from one training are not two measurements.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cifarsweep.analysis.moments import step_of
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.spec.hypothesis import Hypothesis, moment_of
from cifarsweep.spec.metrics import ELAPSED, ENERGY, EPOCH, FLOPS

if TYPE_CHECKING:
    from cifarsweep.analysis.samples import DoneTrials, Side
    from cifarsweep.store import Store
    from cifarsweep.store.trial_records import TrialRow

STEPS = "steps"
#: Metrics that add up over training.
_ADD_UP = (FLOPS, ENERGY)


@dataclass(frozen=True, slots=True)
class Totals:
    """What the trials of a study that are done took together, as far as it is known."""

    trained: Mapping[str, float]
    """What was trained for this study: steps, seconds, FLOPs, joules; each step counts once."""
    reused: Mapping[str, float]
    """What they took over, from trials of this study or of others."""
    whole: int
    """Trials that took over all of their steps."""
    begun: int
    """Trials that took over their first steps."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Trials that are compared though they are one training, as far as they are compared."""

    count: int
    """Those that repeat another one of a side before theirs."""
    of: int
    """All that are compared."""
    times: bool
    """Whether their training times are compared, of which they share a part or all."""


def reused_amounts(store: Store, name: str, rows: Sequence[TrialRow]) -> dict[int, dict[str, float]]:
    """How many FLOPs and joules each trial took over, by its number; on the line between two recorded steps."""
    took = {row.number: row.reused_steps for row in rows if row.reuse}
    found: dict[int, dict[str, float]] = {}
    series = store.metrics.read(name, _ADD_UP, only=list(took)) if took else {}
    for (number, metric), (steps, values) in series.items():
        found.setdefault(number, {})[metric] = float(np.interp(took[number], [0, *steps], [0.0, *values]))
    return found


def totals(report: ReportStudy) -> Totals:
    """Sum up the trials that are done."""
    done = [trial for trial in report.trials if trial.done]
    every, reused = [_all_of(trial) for trial in done], [_reused_of(trial) for trial in done]
    whole = sum(0 < trial.steps <= trial.reused_steps for trial in done)
    taken = _sums(reused)
    trained = {name: amount - taken.get(name, 0.0) for name, amount in _sums(every).items()}
    return Totals(trained, taken, whole, sum(trial.reuse is not None for trial in done) - whole)


def _all_of(trial: ReportTrial) -> dict[str, float]:
    known = {STEPS: float(trial.steps), ELAPSED: trial.elapsed_s or 0.0}
    return known | {name: value for name in _ADD_UP if (value := trial.last(name)) is not None}


def _reused_of(trial: ReportTrial) -> dict[str, float]:
    if trial.reuse is None:
        return {}
    known = {STEPS: float(min(trial.reused_steps, trial.steps)), ELAPSED: trial.reuse.seconds}
    # What has no sum with it has none to subtract.
    return known | {name: value for name, value in trial.reused.items() if trial.last(name) is not None}


def _sums(amounts: Collection[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for each in amounts for name in each)
    return {name: sum(each.get(name, 0.0) for each in amounts) for name in names}


def shared_steps(one: ReportTrial, other: ReportTrial, studies: tuple[str, str]) -> int:
    """How many first steps two trials of these studies have from one training."""
    mine, theirs = (_had_from(trial, study) for trial, study in zip((one, other), studies, strict=True))
    return max((min(mine[name], theirs[name]) for name in mine.keys() & theirs.keys()), default=0)


def _had_from(trial: ReportTrial, study: str) -> dict[str, int]:
    """How many first steps it has in common with each trial that it has any from, itself among them."""
    sources = trial.reuse.sources if trial.reuse else ()
    return {f"{study}/{trial.number}": trial.steps, **{source.name: source.steps for source in sources}}


def same_training(one: ReportTrial, other: ReportTrial, studies: tuple[str, str]) -> bool:
    """Whether two trials of these studies that are done are one training from the first step to the last."""
    return 0 < max(one.steps, other.steps) <= shared_steps(one, other, studies)


def copies(hypothesis: Hypothesis, compared: Sequence[Side], done: DoneTrials, report: ReportStudy) -> Copies | None:
    """The trials that a hypothesis compares though they are one training; None without any."""
    if not any(trial.reuse for trial in report.trials):
        return None
    times = hypothesis.kind == "faster" and hypothesis.by == ELAPSED
    before: dict[int, list[ReportTrial]] = {}
    count = of = 0
    for side in compared:
        own = [trial for cell in side.cells for trial in done.get(cell, {}).values()]
        of += len(own)
        count += sum(any(_repeats(one, each, hypothesis, report) for each in before.get(one.seed, ())) for one in own)
        for trial in own:
            before.setdefault(trial.seed, []).append(trial)
    return Copies(count, of, times) if count else None


def _repeats(one: ReportTrial, other: ReportTrial, hypothesis: Hypothesis, report: ReportStudy) -> bool:
    """Whether what is compared of two trials was trained once; of times, whether a part of it was."""
    if one.number == other.number:
        return False
    shared = shared_steps(one, other, (report.study.name,) * 2)
    if hypothesis.kind == "faster" and hypothesis.by == ELAPSED:
        return shared > 0
    at, ends = moment_of(hypothesis), (one, other)
    compared = [step_of(at, report.series.get((each.number, EPOCH))) if at else None for each in ends]
    return 0 < max(each.steps if step is None else step for each, step in zip(ends, compared, strict=True)) <= shared
