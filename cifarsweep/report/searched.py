"""What a search tried: every parameter against the accuracy that its points reached, and what that can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.formatting import plural, value_text, visible
from cifarsweep.spec.search_space import Choices, Parameter, Range
from cifarsweep.spec.study import level_text
from cifarsweep.spec.types import VAL_ACCURACY, Value

#: Points of a search that its tables and curves show: the best ones.
SHOWN = 12
#: Of one plot, in pixels, with room for the dots at its edges.
WIDTH, HEIGHT, _MARGIN = 220, 120, 6


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    def place(self, value: float, length: int) -> float:
        """Pixels from the lower end."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(_MARGIN + min(max(share, 0.0), 1.0) * (length - 2 * _MARGIN), 1)


def search_view(report: ReportStudy) -> dict[str, Any] | None:
    """The variables of the section on the search; None of a study that compares."""
    search = report.study.search
    if search is None:
        return None
    reached = [(trial, value) for trial in report.trials if (value := _reached(trial)) is not None]
    values = [value for _, value in reached] or [0.0, 1.0]
    axis = _Axis(min(values), max(values))
    return {
        "sentences": list(_sentences(report, len(reached))),
        "plots": [_plot(key, parameter, reached, axis) for key, parameter in search.space.items()] if reached else [],
        "low": value_text(axis.low, VAL_ACCURACY),
        "high": value_text(axis.high, VAL_ACCURACY),
        "pruned": any(trial.pruned for trial, _ in reached),
        "width": WIDTH,
        "height": HEIGHT,
    }


def _reached(trial: ReportTrial) -> float | None:
    value = trial.final.get(VAL_ACCURACY) if trial.done else None
    return value if value is not None and math.isfinite(value) else None


def _sentences(report: ReportStudy, done: int) -> list[str]:
    search = report.study.search
    assert search is not None
    pruned = sum(trial.pruned for trial in report.trials)
    asked = len({trial.cell for trial in report.trials})
    how = {"random": "at random", "tpe": "by TPE, in the light of those before", "cmaes": "by CMA-ES"}[search.sampler]
    found = [f"{asked} of {plural(search.points, 'point')} were chosen {how}; {_ended(done, pruned)}."]
    if pruned:
        found.append(
            f"{plural(pruned, 'trial')} fell behind the others and {'was' if pruned == 1 else 'were'} ended early "
            f"({search.pruner}): such a trial is in no mean, and stands in the figure at the accuracy it had."
        )
    if len(report.study.seeds) == 1:
        found.append(
            "One seed for each point says little, and the best of many single trials owes part of its place to luck. "
            "Repeat the best points with several seeds, as arms of a study, before you conclude anything from them."
        )
    return found


def _ended(done: int, pruned: int) -> str:
    if not pruned:
        return f"{plural(done, 'trial')} done"
    return f"{plural(done - pruned, 'trial')} done, {pruned} pruned"


def _plot(key: str, parameter: Parameter, reached: Sequence[tuple[ReportTrial, float]], y: _Axis) -> dict[str, Any]:
    points = [
        {
            "x": _place(parameter, trial.levels[key]),
            "y": round(HEIGHT - y.place(value, HEIGHT), 1),
            "pruned": trial.pruned,
            "title": f"{visible(level_text(trial.levels[key]))}: {value_text(value, VAL_ACCURACY)}",
        }
        for trial, value in reached
        if key in trial.levels
    ]
    ends = [visible(level_text(end)) for end in parameter.ends]
    plot = {"key": visible(key), "points": points, "ticks": ends, "choices": True, "log": False}
    if isinstance(parameter, Choices):
        return plot
    ticks = [ends[0], visible(level_text(_middle(parameter))), ends[1]]
    return plot | {"ticks": ticks, "choices": False, "log": parameter.log}


def _middle(parameter: Range) -> Value:
    """What stands half-way along the axis, with two digits."""
    low, high = float(parameter.low), float(parameter.high)
    return float(f"{math.sqrt(low * high) if parameter.log else (low + high) / 2:.2g}")


def _place(parameter: Parameter, value: Value) -> float:
    if isinstance(parameter, Choices):
        keys = [repr(choice) for choice in parameter.choices]
        place = keys.index(repr(value)) if repr(value) in keys else 0
        return _Axis(-0.5, len(keys) - 0.5).place(place, WIDTH)
    assert isinstance(value, int | float)
    if parameter.log:
        return _Axis(math.log(parameter.low), math.log(parameter.high)).place(math.log(value), WIDTH)
    return _Axis(parameter.low, parameter.high).place(value, WIDTH)
