"""A verdict as a small picture: the estimate, its 95 % interval, and where it would have to lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.verdict import Verdict
from cifarsweep.formatting import target_text
from cifarsweep.spec.hypothesis import Hypothesis, is_loss

#: In pixels.
WIDTH, _EDGE = 240, 10


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
    place = _Axis.around([math.log(value) for value in shown] if log else shown)
    low, high = (_place(place, end, log) for end in (region.low, region.high))
    return {
        "width": WIDTH,
        "region": (low, round(high - low, 1)),
        "mark": _place(place, region.mark, log),
        "mark_text": _text(verdict.hypothesis, region.mark),
        "ends": [_place(place, end, log) for end in (verdict.interval.low, verdict.interval.high)],
        "estimate": _place(place, verdict.estimate, log),
    }


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    @classmethod
    def around(cls, values: list[float]) -> _Axis:
        room = 0.15 * (max(values) - min(values) or 1.0)
        return cls(min(values) - room, max(values) + room)

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_EDGE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * _EDGE), 1)


def _place(axis: _Axis, value: float, log: bool) -> float:
    if log:
        return axis.place(math.log(value) if value > 0 else -math.inf)
    return axis.place(value)


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
