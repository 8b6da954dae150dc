"""What a search found: its points, the best so far, and which parameters matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.results import final_summary
from cifarsweep.search import importances
from cifarsweep.spec.metrics import is_loss, is_share
from cifarsweep.spec.search_space import PointResult, Search
from cifarsweep.spec.types import FINAL_STATES, Value

#: Importance takes so many points that are complete; below the second number it is uncertain.
FEWEST, FEW = 10, 30
#: The part of the points that counts as best, and the fewest of them that Optuna advises to take.
_BEST_PART, _FEWEST_BEST = 0.1, 5

PointState = Literal["open", "done", "pruned", "fell out", "failed"]


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a search, with all of its seeds."""

    number: int
    """Of its first trial."""
    cell: str
    """Its name in the database, made of its values."""
    levels: Mapping[str, Value]
    state: PointState
    """`open` until all of its trials have ended, `done` if all trained to their end."""
    value: float | None
    """The mean over its seeds, as in tables; of a pruned point what it had when it was ended."""
    seeds: int
    """The number of seeds that `value` is of."""

    @property
    def name(self) -> str:
        """What pages and arms call it."""
        return f"#{self.number}"

    @property
    def ranks(self) -> bool:
        """Whether its value is one of a training that came to its end."""
        return self.value is not None and self.state != "pruned"


@dataclass(frozen=True, slots=True)
class Importance:
    """How much each parameter sets the best points apart from all of them; see `search.importances`."""

    shares: Mapping[str, float]
    """By parameter, the largest first; they add up to 1."""
    beyond_chance: frozenset[str]
    """The parameters whose share is more than shuffled results give."""
    best: int
    """How many points are the best ones; more than planned where several share the last value."""
    points: int
    """How many points there are to tell them from."""

    @property
    def uncertain(self) -> bool:
        return self.points < FEW


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search at one moment."""

    search: Search
    metric: str
    points: tuple[Point, ...]
    """In the order in which they were asked for."""
    ranked: tuple[Point, ...]
    """Those that `ranks`, the best first; of equal ones the earlier first."""
    leaders: tuple[Point, ...]
    """Each point that was better than all before it, in their order."""
    importance: Importance | None
    """None while there are fewer than `FEWEST` points that are complete, or too many of them are the best."""

    @property
    def candidates(self) -> tuple[Point, ...]:
        """Those worth more seeds, the best first: every trial of theirs trained to its end."""
        return tuple(point for point in self.ranked if point.state == "done")

    @property
    def shown(self) -> tuple[float, float] | None:
        """The lowest and the highest value of figures; None without a value.

        Outliers on the worse side lie beyond: those that are four times as far from the median as the best is, and at
        least 2 points of a share.
        """
        losses = [_loss(point, self.metric) for point in self.points if point.value is not None]
        if not losses:
            return None
        best, middle = min(losses), median(losses)
        worst = min(middle + max(4 * (middle - best), 0.02 if is_share(self.metric) else 0.0), max(losses))
        return (best, worst) if is_loss(self.metric) else (-worst, -best)


def _loss(point: Point, metric: str) -> float:
    """Its value, with the sign by which less is better."""
    assert point.value is not None
    return point.value if is_loss(metric) else -point.value


def search_result(report: ReportStudy) -> SearchResult | None:
    """Sum up the search of a study; None for a study without one."""
    study = report.study
    if study.search is None:
        return None
    metric, points = study.metric, _points(report)
    known = [point for point in points if point.ranks]
    leaders: list[Point] = []
    for point in known:
        if not leaders or _loss(point, metric) < _loss(leaders[-1], metric):
            leaders.append(point)
    ranked = tuple(sorted(known, key=lambda point: _loss(point, metric)))
    importance = _importance(study.search, known, metric)
    return SearchResult(study.search, metric, tuple(points), ranked, tuple(leaders), importance)


def _points(report: ReportStudy) -> list[Point]:
    by_cell: dict[str, list[ReportTrial]] = {}
    for trial in sorted(report.trials, key=lambda trial: trial.number):
        by_cell.setdefault(trial.cell, []).append(trial)
    return [_point(trials, report.study.metric) for trials in by_cell.values()]


def _point(trials: Sequence[ReportTrial], metric: str) -> Point:
    state, first = _state(trials), trials[0]
    if state == "pruned":
        known = [value for trial in trials if (value := trial.ended_with(metric)) is not None]
        return Point(first.number, first.cell, first.levels, state, fmean(known) if known else None, len(known))
    found = final_summary(trials, metric)
    return Point(first.number, first.cell, first.levels, state, found.mean if found else None, found.n if found else 0)


def _state(trials: Sequence[ReportTrial]) -> PointState:
    if any(trial.state not in FINAL_STATES for trial in trials):
        return "open"
    if not all(trial.done for trial in trials):
        return "failed"
    if any(trial.pruned for trial in trials):
        return "pruned"
    return "fell out" if any(trial.fell_out for trial in trials) else "done"


def _importance(search: Search, points: Sequence[Point], metric: str) -> Importance | None:
    """Of points whose trials have ended: while some are open, a value is of the first seeds alone."""
    ended = [point for point in points if point.state != "open" and search.holds(point.levels)]
    if len(ended) < FEWEST or len(search.space) < 2:
        return None
    losses = sorted(_loss(point, metric) for point in ended)
    last = losses[max(math.ceil(_BEST_PART * len(losses)), _FEWEST_BEST) - 1]
    best = sum(loss <= last for loss in losses)
    if best > len(losses) / 2:
        return None
    tried = [PointResult(point.levels, "complete", point.value) for point in ended]
    found = importances(search, tried, best, less_is_better=is_loss(metric))
    ordered = sorted(found, key=lambda key: (-found[key].share, key))
    shares = {key: found[key].share for key in ordered}
    return Importance(shares, frozenset(key for key in ordered if found[key].beyond_chance), best, len(losses))
