"""Says what an undecided hypothesis rules out: the interval that would decide it, in words."""

from __future__ import annotations

import math
from collections.abc import Callable

from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.formatting import ratio_text, value_text
from cifarsweep.spec.metrics import is_loss, is_share


def ruled_out(verdict: Verdict) -> str:
    """`It costs at most 1.4 points and gains at most 0.3.`; empty where nothing is tested, or nothing ruled out."""
    interval, hypothesis = verdict.decisive, verdict.hypothesis
    if interval is None or verdict.preliminary:
        return ""
    low, high, metric = interval.low, interval.high, hypothesis.metric
    if hypothesis.kind == "faster":
        return f"It takes {ratio_text(low)} to {ratio_text(high)} times as long."
    if is_share(metric):
        least = 0.0 if hypothesis.kind in ("at_chance", "reaches") else -1.0
        if low <= least and high >= 1.0:
            return ""
        low, high = max(low, least), min(high, 1.0)
    if hypothesis.kind in ("at_chance", "reaches"):
        return f"The mean is {value_text(low, metric, interval.half)} to {value_text(high, metric, interval.half)}."
    if hypothesis.kind == "trend":
        return f"It {_ends(low, high, 'falls', 'rises', metric)} per level."
    less, more = ("gains", "costs") if is_loss(metric) else ("costs", "gains")
    return f"It {_ends(low, high, less, more, metric)}."


def _ends(low: float, high: float, below: str, above: str, metric: str) -> str:
    """Both ends, rounded outwards, so that nothing counts as ruled out that is not."""
    unit = " points" if is_share(metric) else ""
    if low >= 0:
        return f"{above} {_outwards(low, metric, math.floor)} to {_outwards(high, metric, math.ceil)}{unit}"
    if high <= 0:
        return f"{below} {_outwards(-high, metric, math.floor)} to {_outwards(-low, metric, math.ceil)}{unit}"
    most = _outwards(-low, metric, math.ceil), _outwards(high, metric, math.ceil)
    return f"{below} at most {most[0]}{unit} and {above} at most {most[1]}"


def _outwards(value: float, metric: str, towards: Callable[[float], int]) -> str:
    """A distance with one decimal of a point, or three digits of another metric."""
    if is_share(metric):
        return f"{towards(round(1000 * value, 6)) / 10:.1f}"
    scale = 10.0 ** (2 - math.floor(math.log10(value))) if value > 0 else 1.0
    return f"{towards(round(value * scale, 6)) / scale:.3g}"
