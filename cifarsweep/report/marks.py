"""Small pictures within a page: their scale, and a verdict as its estimate, its interval and the claimed region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.report.hypothesis_text import kind_text
from cifarsweep.stats import Interval

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


def interval_mark(
    value: float, interval: Interval | None, scale: Scale, label: str, span: tuple[float, float] | None = None
) -> dict[str, Any]:
    """A value and its interval in pixels, else the range of the seeds; an end beyond the scale gets no cap."""
    ends = (interval.low, interval.high) if interval else ()
    return {
        "value": scale.pixel(value),
        "ends": [{"x": scale.pixel(end), "cap": scale.low <= end <= scale.high} for end in ends],
        "range": [scale.pixel(end) for end in span] if span and not interval else [],
        "label": label,
    }


def forest_mark(verdict: Verdict) -> dict[str, Any] | None:
    """The picture of a verdict in pixels; None without an interval or a region.

    An end of the interval that decides which lies beyond the picture gets no cap.
    """
    region = kind_text(verdict.hypothesis).region()
    if region is None or verdict.estimate is None or verdict.interval is None:
        return None
    unit = _log if region.log else float
    ends = [unit(verdict.interval.low), unit(verdict.interval.high)]
    shown = [*ends, unit(region.mark)]
    shown += [end for end in (region.low, region.high) if math.isfinite(end) and not region.log]
    decisive = [unit(verdict.decisive.low), unit(verdict.decisive.high)] if verdict.decisive else []
    # Of few seeds the interval that decides may be so wide that nothing else would be seen.
    most = ends[1] - ends[0]
    scale = _scale([*shown, *(min(max(end, ends[0] - most), ends[1] + most) for end in decisive)])

    def pixel(value: float) -> float:
        return scale.pixel(unit(value))

    low, high = pixel(region.low), pixel(region.high)
    return {
        "width": WIDTH,
        "region": (low, round(high - low, 1)),
        "mark": pixel(region.mark),
        "mark_text": region.name,
        "ends": [scale.pixel(end) for end in ends],
        "decisive": [{"x": scale.pixel(end), "cap": scale.low <= end <= scale.high} for end in decisive],
        "estimate": pixel(verdict.estimate),
    }


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _scale(values: Sequence[float]) -> Scale:
    """A scale around the values, with 15 % of room at both ends."""
    room = 0.15 * (max(values) - min(values) or 1.0)
    return Scale(min(values) - room, max(values) + room, WIDTH, 10)
