"""Numbers and texts as a reader wants them: rounded to what is known, with units, and harmless."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from cifarsweep.spec.metrics import METRIC_LABELS, is_share
from cifarsweep.spec.types import TrialState

if TYPE_CHECKING:
    from cifarsweep.stats import Summary

_MINUS, _DASH, _THIN = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NARROW NO-BREAK SPACE}"
#: Where a line must not break: around +-, in p = 0.1, and before a per cent sign that follows a number.
_UNBROKEN = re.compile(r"(?<=\d) (?=%)|(?<=±) | (?=±)|(?<=\bp) (?=[=<] )|(?<=\bp [=<]) ")


def metric_label(name: str) -> str:
    """A metric as a heading; names that nobody foresaw stand as they are."""
    return METRIC_LABELS.get(name, name)


def state_text(state: str) -> str:
    """Name the state of a trial for readers: a leased trial is running."""
    return "running" if state == TrialState.LEASED else str(state)


def trial_counts(trials: Mapping[TrialState, int], pruned: int) -> str:
    """Count trials by state in words; those that a search pruned are apart from the others that are done."""
    counts = [(state_text(state), count - pruned * (state is TrialState.DONE)) for state, count in trials.items()]
    return ", ".join(f"{count} {state}" for state, count in (*counts, ("pruned", pruned)) if count) or "no trials"


def keep_together(text: str) -> str:
    """Keep a line from ending before a unit or within a mean and its interval."""
    return _UNBROKEN.sub(_THIN, text)


def mean_text(summary: Summary, metric: str) -> str:
    """`97.2 +- 0.4 %` or, from one seed, `97.2 %`."""
    share = is_share(metric)
    half = summary.interval.half if summary.interval else None
    mean = _number(summary.mean, half, share)
    spread = f"{_THIN}±{_THIN}{_number(half, half, share)}" if half is not None else ""
    return f"{mean}{spread}{_THIN}%" if share else f"{mean}{spread}"


def interval_text(summary: Summary, metric: str) -> str:
    """The two ends of the interval, or a dash where one seed gives none."""
    if summary.interval is None:
        return _DASH
    ends = (summary.interval.low, summary.interval.high)
    return _ends(ends, summary.interval.half, metric)


def range_text(summary: Summary, metric: str) -> str:
    """Lowest and highest seed, or the value of the only one."""
    half = summary.interval.half if summary.interval else None
    if summary.n == 1:
        return value_text(summary.min, metric)
    return _ends((summary.min, summary.max), half, metric)


def value_text(value: float, metric: str, half: float | None = None) -> str:
    """One value with its unit, rounded as an interval of that half width is."""
    text = _number(value, half, is_share(metric))
    return f"{text}{_THIN}%" if is_share(metric) else text


def target_text(value: float, metric: str) -> str:
    """A number that a study names, with every digit that it has: one that is missed by little must not look reached."""
    if not is_share(metric):
        return f"{value:.10g}".replace("-", _MINUS)
    text = f"{100 * value:.10g}"
    return f"{text if '.' in text else f'{text}.0'}{_THIN}%"


def number_text(value: float, summary: Summary, metric: str) -> str:
    """One number of a summary, rounded as its mean is, without the unit."""
    return _number(value, summary.interval.half if summary.interval else None, is_share(metric))


def margin_text(margin: float, metric: str) -> str:
    """A difference: in percentage points where the metric is a share."""
    return plural(round(100 * margin, 6), "point") if is_share(metric) else f"{margin:.4g}"


def signed_text(value: float, half: float, metric: str, *, unit: bool = True) -> str:
    """A difference, in percentage points where the metric is a share, with two decimals where it is known well."""
    if not is_share(metric):
        return _number(value, half, share=False)
    text = f"{100 * value:z.{2 if half < 0.01 else 1}f}".replace("-", _MINUS)
    return f"{text} points" if unit else text


def ratio_text(ratio: float) -> str:
    """A ratio with two or three digits: `0.31`, `1.04`, `12`."""
    if not 0.001 <= ratio < 1000:
        return f"{ratio:.1e}"
    return f"{ratio:.2g}" if ratio < 1 else f"{ratio:.3g}"


def _ends(ends: tuple[float, float], half: float | None, metric: str) -> str:
    low, high = (_number(end, half, is_share(metric)) for end in ends)
    unit = f"{_THIN}%" if is_share(metric) else ""
    return f"{low} to {high}{unit}"


def _number(value: float, half: float | None, share: bool) -> str:
    """One decimal of a per cent, two where the interval is below 0.1 points; other metrics with four digits."""
    if share:
        decimals = 2 if half is not None and half < 0.001 else 1
        return f"{100 * value:z.{decimals}f}".replace("-", _MINUS)
    return f"{value:z.4g}".replace("-", _MINUS)


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that matter, or a dash."""
    if seconds is None:
        return _DASH
    if seconds < 60:
        return f"{seconds:.1f}{_THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_THIN}min {rest:02d}{_THIN}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{_THIN}h {minutes:02d}{_THIN}min"


def magnitude(value: float | None) -> str:
    """A large count with three digits and a prefix: `11.2 M`."""
    if value is None:
        return _DASH
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{_THIN}{prefix}"
    return f"{value:.3g}"


def timestamp(when: datetime | None) -> str:
    """Date and time in the zone that the record carries."""
    return when.strftime("%Y-%m-%d %H:%M %Z").strip() if when is not None else _DASH


def plural(count: float, word: str) -> str:
    """`1 trial`, `2 trials`, `0.5 points`."""
    return f"{count:,.12g} {word}{'' if count == 1 else 's'}"
