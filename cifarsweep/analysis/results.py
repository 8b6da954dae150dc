"""The trials of each cell summed up: final values, counts and costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from cifarsweep.analysis.moments import as_of
from cifarsweep.analysis.outcomes import FallenOut, compared_runs, fallen_out
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.samples import sides
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import ELAPSED, ENERGY, FLOPS, TEST_ACCURACY, VAL_ACCURACY, is_loss, is_share
from cifarsweep.spec.study import Cell
from cifarsweep.spec.types import TrialState
from cifarsweep.stats import Summary, summary

#: A cost: seconds of training of all devices of a trial together.
DEVICE_TIME = "device_s"


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell's trials, summed up."""

    cell: Cell
    trials: tuple[ReportTrial, ...]
    accuracy: Summary | None
    """Of the final values of the study's metric, over `compared_runs`; None while no trial is done."""
    seconds: float | None
    """Mean training time of the trials that are done."""
    test: Summary | None = None
    """Of the accuracy on the test set, where that does not validate; None while no trial has one."""
    metric: str = VAL_ACCURACY
    """What the study is about."""

    @property
    def rank(self) -> float:
        """A number by which cells sort, best first; those without a result come last."""
        if self.accuracy is None:
            return math.inf
        return self.accuracy.mean if is_loss(self.metric) else -self.accuracy.mean

    @property
    def done(self) -> int:
        return sum(trial.done for trial in self.trials)

    @property
    def diverged(self) -> int:
        return sum(trial.diverged for trial in self.trials)

    @property
    def fell_out(self) -> FallenOut:
        """The trials that diverged or ended no better than a guess."""
        return fallen_out(self.trials)

    @property
    def failed(self) -> int:
        return sum(trial.failed for trial in self.trials)

    @property
    def trained(self) -> list[ReportTrial]:
        return [trial for trial in self.trials if trial.trained]

    @property
    def devices(self) -> int:
        """How many devices share the batches of each trial."""
        return self.cell.own_settings.devices if self.cell.own_settings else 1

    @property
    def params(self) -> int | None:
        """Parameters of the network, as its first trial that recorded them has it."""
        return next((trial.params for trial in self.trials if trial.params is not None), None)

    @property
    def flops(self) -> float | None:
        """Of the forward pass of one image."""
        return next((trial.flops for trial in self.trials if trial.flops is not None), None)


@dataclass(frozen=True, slots=True)
class NamedMean:
    """The mean of a metric in one of the cells that a hypothesis names."""

    role: str
    """What the hypothesis calls the cell: `a`, `b`, or a level of its factor."""
    cell: str
    value: Summary | None
    done: bool
    """Whether any of its trials is done."""


def cell_results(report: ReportStudy) -> list[CellResult]:
    """Sum up every cell of the study, in its order."""
    by_cell: dict[str, list[ReportTrial]] = {cell.name: [] for cell in report.study.cells}
    for trial in report.trials:
        by_cell.setdefault(trial.cell, []).append(trial)
    return [_result(cell, by_cell[cell.name], report.study.metric) for cell in report.study.cells]


def _result(cell: Cell, trials: Sequence[ReportTrial], metric: str) -> CellResult:
    times = [trial.elapsed_s for trial in trials if trial.done and trial.elapsed_s is not None]
    seconds = sum(times) / len(times) if times else None
    accuracy, test = final_summary(trials, metric), final_summary(trials, TEST_ACCURACY)
    # A program's own name of the same metric would be told twice.
    return CellResult(cell, tuple(trials), accuracy, seconds, test if metric != TEST_ACCURACY else None, metric)


def final_summary(trials: Sequence[ReportTrial], metric: str, *, every: bool = False) -> Summary | None:
    """Sum up the final values of a metric over the runs of a cell that stand for it; None while no trial has one.

    `every` takes those that fell out too, as `at_chance` does.
    """
    counted = trials if every else compared_runs(trials)
    values = [value for trial in counted if (value := trial.last(metric)) is not None]
    return summary(values) if values else None


@dataclass(frozen=True, slots=True)
class Cost:
    """One thing that training costs, such as time or energy, and what each cell took of it."""

    name: str
    values: tuple[float | None, ...]
    """By cell, in the order of the results; None if unknown, or without an accuracy."""
    front: tuple[int, ...]
    """The Pareto front, cheapest first: indices of the cells that none beats in accuracy at the same cost or less.

    A cell of which every run fell out is not on it, however little it costs.
    """


def _mean_seconds(result: CellResult) -> float | None:
    times = [trial.elapsed_s for trial in result.trained if trial.elapsed_s is not None]
    return fmean(times) if times else None


def _device_seconds(result: CellResult) -> float | None:
    """The training time, as often as it was spent at once."""
    seconds = _mean_seconds(result)
    return None if seconds is None else seconds * result.devices


def _mean_of(metric: str) -> Callable[[CellResult], float | None]:
    return lambda result: found.mean if (found := final_summary(result.trained, metric)) else None


_COSTS: Mapping[str, Callable[[CellResult], float | None]] = {
    ELAPSED: _mean_seconds,
    DEVICE_TIME: _device_seconds,
    ENERGY: _mean_of(ENERGY),
    FLOPS: _mean_of(FLOPS),
    "params": lambda result: result.params,
    "flops_per_image": lambda result: result.flops,
}


def costs(results: Sequence[CellResult]) -> list[Cost]:
    """The costs in which the cells differ; the time of devices where their numbers do."""
    differing = []
    same_number = len({result.devices for result in results}) == 1
    for name, cost_of in _COSTS.items():
        if name == DEVICE_TIME and same_number:
            continue
        values = tuple(cost_of(result) if result.accuracy else None for result in results)
        if len({value for value in values if value is not None}) > 1:
            differing.append(Cost(name, values, tuple(pareto_front(results, values))))
    return differing


def pareto_front(results: Sequence[CellResult], values: Sequence[float | None]) -> list[int]:
    """See `Cost.front`."""
    points = [
        (cost, result.rank, index)
        for index, (result, cost) in enumerate(zip(results, values, strict=True))
        if cost is not None and result.accuracy is not None and not result.fell_out.every
    ]
    front, least = [], float("inf")
    for _, error, index in sorted(points):
        if error < least:
            front.append(index)
            least = error
    return front


def best(results: Sequence[CellResult]) -> CellResult | None:
    """The cell with the best mean; it need not be surely better than the next."""
    known = [result for result in results if result.accuracy is not None]
    return min(known, key=lambda result: result.rank, default=None)


def reach(means: Sequence[float], metric: str = VAL_ACCURACY) -> float | None:
    """The accuracy below which a mean is an outlier; None if none is, and for a metric that is no share.

    An outlier is four times as far below the median as the highest mean is above it, and at least 2 points. A cell that
    did not train would otherwise squeeze all others together in a figure.
    """
    if not means or not is_share(metric):
        return None
    middle = median(means)
    low = middle - max(4 * (max(means) - middle), 0.02)
    return low if min(means) < low else None


def state_counts(report: ReportStudy) -> dict[TrialState, int]:
    """The number of trials in every state, in the order of `TrialState`."""
    counts = Counter(str(trial.state) for trial in report.trials)
    return {state: counts[state] for state in TrialState}


def named_means(hypothesis: Hypothesis, report: ReportStudy, results: Sequence[CellResult]) -> list[NamedMean]:
    """The means of the cells that a hypothesis is tested on, at the moment that it names."""
    by_name = {result.cell.name: result for result in results}
    means = []
    for side in sides(hypothesis, report.study):
        for cell in side.cells:
            trials = [as_of(trial, hypothesis, report) for trial in by_name[cell].trials]
            mean = final_summary(trials, hypothesis.metric, every=hypothesis.kind == "at_chance")
            means.append(NamedMean(side.role, cell, mean, by_name[cell].done > 0))
    return means
