"""A comparison as a sentence tells it: the means of its sides, how many reached a target, the estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import DoneTrials, Side, last_values, seed_means, times_to
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import bounds, is_share
from cifarsweep.stats import Interval, Summary, summary
from cifarsweep.stats.estimate import FEWEST_SEEDS, Cells, mean
from cifarsweep.stats.evidence import Evidence, Reached


@dataclass(frozen=True, slots=True, kw_only=True)
class SideResult:
    """One side of a comparison, at the look that is tested."""

    label: str
    cells: tuple[str, ...]
    value: Summary | None = None
    """Of the last values, of several cells the mean of their means; None if a cell has none, and for `faster`."""
    seeds: int = 0
    """Seeds of the cell with the fewest; for `faster` the trials that have a curve."""
    reached: int = 0
    """Trials that reached the target of `faster`."""


def side_results(
    hypothesis: Hypothesis, compared: Sequence[Side], done: DoneTrials, evidence: Evidence | None, report: ReportStudy
) -> tuple[SideResult, ...]:
    """The sides in the order of the hypothesis; of `best` the level and the one that comes nearest."""
    if hypothesis.kind == "faster":
        times = [times_to(side, done, report, hypothesis) for side in compared]
        return tuple(_race_result(side, cells) for side, cells in zip(compared, times, strict=True))
    if hypothesis.kind == "best" and evidence is not None:
        compared = [compared[0], compared[1 + evidence.weakest]]
    return tuple(_side_result(hypothesis, side, done, report) for side in compared)


def _race_result(side: Side, times: Sequence[Sequence[Reached]]) -> SideResult:
    reached = sum(time.reached for cell in times for time in cell)
    return SideResult(label=side.label, cells=side.cells, seeds=sum(map(len, times)), reached=reached)


def _side_result(hypothesis: Hypothesis, side: Side, done: DoneTrials, report: ReportStudy) -> SideResult:
    alone = hypothesis.kind in ("at_chance", "reaches")
    cells = [seed_means(side, done, hypothesis, report)] if alone else last_values(side, done, hypothesis, report)
    value = _summary(cells)
    return SideResult(label=side.label, cells=side.cells, value=value, seeds=value.n if value else 0)


def _summary(cells: Cells) -> Summary | None:
    values = [value for cell in cells for value in cell.values]
    if len(cells) == 1:
        return summary(values) if values else None
    found = mean(cells)
    return Summary(found.n, found.value, None, found.interval(), min(values), max(values)) if found else None


def shown_estimate(
    evidence: Evidence | None, decisive: Interval | None, hypothesis: Hypothesis
) -> tuple[float | None, Interval | None, Interval | None]:
    """The estimate and its two intervals; a ratio of times only if every seed reached the target.

    With fewer seeds than a verdict takes there is no interval: Student's t of two seeds says next to nothing.
    """
    ratio = hypothesis.kind == "faster"
    if evidence is None or (ratio and not evidence.exact):
        return None, None, None
    value, interval = evidence.estimate.value, evidence.estimate.interval()
    if evidence.estimate.n < FEWEST_SEEDS:
        interval = None
    if ratio:
        return math.exp(value), _ratios(interval), _ratios(decisive)
    # Student's t knows no bounds.
    alone = hypothesis.kind in ("at_chance", "reaches")
    ends = bounds(hypothesis.metric) if alone else (-1.0, 1.0) if is_share(hypothesis.metric) else (-math.inf, math.inf)
    interval, decisive = (one.within(*ends) if one else None for one in (interval, decisive))
    return value, interval, decisive


def _ratios(interval: Interval | None) -> Interval | None:
    # Few seeds that differ widely would overflow.
    ends = (interval.low, interval.high) if interval else ()
    return Interval(*(math.exp(min(max(end, -700.0), 700.0)) for end in ends)) if interval else None
