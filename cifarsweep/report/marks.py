"""Small pictures within a page: their scale, and a verdict as its estimate, its interval and the claimed region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.verdict import Verdict
from cifarsweep.formatting import target_text
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import is_loss

#: Width of the picture of a verdict, in pixels.
WIDTH = 240


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` to `length` pixels, with a margin at both ends."""

    low: float
    high: float
    length: int
    margin: int

    def pixel(self, value: float) -> float:
        """The distance from the lower end; a value beyond an end is held there."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.margin + min(max(share, 0.0), 1.0) * (self.length - 2 * self.margin), 1)


@dataclass(frozen=True, slots=True)
class _Region:
    """Where the claim holds, in units of the estimate; `mark` is the value that everybody looks for."""

    low: float
    high: float
    mark: float


def forest_mark(verdict: Verdict) -> dict[str, Any] | None:
    """Places in pixels for the template; None where there is no interval."""
    region = _region(verdict.hypothesis)
    if region is None or verdict.estimate is None or verdict.interval is None:
        return None
    log = verdict.hypothesis.kind == "faster"
    shown = [verdict.interval.low, verdict.interval.high, region.mark]
    shown += [end for end in (region.low, region.high) if math.isfinite(end) and not log]
    scale = _scale([_log(value) for value in shown] if log else shown)

    def pixel(value: float) -> float:
        return scale.pixel(_log(value) if log else value)

    low, high = pixel(region.low), pixel(region.high)
    return {
        "width": WIDTH,
        "region": (low, round(high - low, 1)),
        "mark": pixel(region.mark),
        "mark_text": _text(verdict.hypothesis, region.mark),
        "ends": [pixel(verdict.interval.low), pixel(verdict.interval.high)],
        "estimate": pixel(verdict.estimate),
    }


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _scale(values: Sequence[float]) -> Scale:
    """A scale around the values, with 15 % of room at both ends."""
    room = 0.15 * (max(values) - min(values) or 1.0)
    return Scale(min(values) - room, max(values) + room, WIDTH, 10)


def _region(hypothesis: Hypothesis) -> _Region | None:
    sign = -1 if is_loss(hypothesis.metric) else 1
    match hypothesis.kind:
        case "greater":
            return _Region(hypothesis.margin, math.inf, 0.0)
        case "not_worse":
            return _better(-sign * hypothesis.margin, sign, 0.0)
        case "equivalent":
            return _Region(-hypothesis.margin, hypothesis.margin, 0.0)
        case "reaches":
            return _better(hypothesis.target - sign * hypothesis.margin, sign, hypothesis.target)
        case "faster":
            return _Region(0.0, 1.0, 1.0)
        case "best":
            return _better(0.0, sign, 0.0)
        case "trend":
            return _Region(0.0, math.inf, 0.0) if hypothesis.direction == "rising" else _Region(-math.inf, 0.0, 0.0)
        case "at_chance":
            return None


def _better(end: float, sign: int, mark: float) -> _Region:
    """Everything that is better than the end: below it for a loss."""
    return _Region(end, math.inf, mark) if sign > 0 else _Region(-math.inf, end, mark)


def _text(hypothesis: Hypothesis, mark: float) -> str:
    if hypothesis.kind == "reaches":
        return target_text(mark, hypothesis.metric)
    return "as fast" if hypothesis.kind == "faster" else "no difference" if hypothesis.kind != "trend" else "level"
