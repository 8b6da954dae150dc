"""Axes of the figures of a search: places of values in per cent of a plot, and ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cifarsweep.formatting import value_text
from cifarsweep.report.marks import Scale
from cifarsweep.spec.levels import level_key, level_text
from cifarsweep.spec.metrics import is_share
from cifarsweep.spec.search_space import Choices, Parameter
from cifarsweep.spec.types import Value


def axis_view(key: str, label: str, parameter: Parameter) -> dict[str, Any]:
    """The axis of a parameter, as variables of a template."""
    of_choices = isinstance(parameter, Choices)
    log = not isinstance(parameter, Choices) and parameter.log
    return {"key": key, "label": label, "log": log, "ticks": _ticks(parameter), "choices": of_choices}


def _ticks(parameter: Parameter) -> list[dict[str, Any]]:
    """The places and texts of ticks: all choices, or both ends and the middle."""
    if isinstance(parameter, Choices):
        return [{"at": place(parameter, one), "text": level_text(one)} for one in parameter.choices]
    low, high = float(parameter.low), float(parameter.high)
    middle = float(f"{math.sqrt(low * high) if parameter.log else (low + high) / 2:.2g}")
    values = [parameter.low, parameter.rounded(middle), parameter.high]
    return [{"at": place(parameter, one), "text": level_text(one)} for one in values]


def place(parameter: Parameter, value: Value) -> float:
    """The place of a value of the space along its axis."""
    if isinstance(parameter, Choices):
        index = [level_key(one) for one in parameter.choices].index(level_key(value))
        return Scale(-0.5, len(parameter.choices) - 0.5, 100, 0).pixel(index)
    assert isinstance(value, int | float)
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return Scale(low, high, 100, 0).pixel(at)


def number_of(parameter: Parameter, value: Value) -> float | None:
    """The value of a point, or the index of its choice; None outside of the space."""
    if not parameter.holds(value):
        return None
    if isinstance(parameter, Choices):
        return [level_key(one) for one in parameter.choices].index(level_key(value))
    return float(value) if isinstance(value, int | float) else None


def whole_ticks(scale: Scale) -> list[int]:
    """About five numbers, a step of 1, 2 or 5 times a power of ten apart."""
    step = max(_step((scale.high - scale.low) / 5, (1, 2, 5, 10)), 1)
    return [int(tick) for tick in _multiples(scale, step)]


def value_ticks(scale: Scale, metric: str) -> list[dict[str, Any]]:
    """About four values of the metric, which grows upwards."""
    step = _step((scale.high - scale.low) / 4, (1, 2, 2.5, 5, 10)) if scale.high > scale.low else None
    ticks = [scale.low] if step is None else _multiples(scale, step)
    half = step if is_share(metric) else None
    return [{"at": round(100 - scale.pixel(tick), 1), "text": value_text(tick, metric, half)} for tick in ticks]


def _step(least: float, times: Sequence[float]) -> float:
    """The smallest of these times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(each * power for each in times if each * power >= least * (1 - 1e-9))


def _multiples(scale: Scale, step: float) -> list[float]:
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [step * times for times in range(first, last + 1)]
