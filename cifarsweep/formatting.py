"""Numbers and states in the words of reports: rounded to what is known, with units."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from cifarsweep.spec.metrics import METRIC_LABELS, VAL_ACCURACY, VAL_LOSS, bounds, is_share
from cifarsweep.spec.types import TrialState

if TYPE_CHECKING:
    from cifarsweep.spec.moments import At
    from cifarsweep.spec.study import Study
    from cifarsweep.stats import Interval, Summary

P = ParamSpec("P")
T = TypeVar("T")


class _AboutStudy(Protocol):
    @property
    def study(self) -> Study: ...


A = TypeVar("A", bound=_AboutStudy)

#: Beyond these, a number is written with a power of ten.
_MOST_DECIMALS, _LARGE = 6, 1e6
_MINUS, _DASH, _THIN = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NARROW NO-BREAK SPACE}"
#: Where a line must not break: around +-, in p = 0.1, and before a per cent sign that follows a number.
_UNBROKEN = re.compile(r"(?<=\d) (?=%)|(?<=±) | (?=±)|(?<=\bp) (?=[=<] )|(?<=\bp [=<]) ")


#: What is measured on the validation images has other labels in a study whose validation images are the test set.
_judged: ContextVar[Mapping[str, str]] = ContextVar("judged", default=MappingProxyType({}))


def metric_label(name: str) -> str:
    """The label of a metric; an unknown name is its own label."""
    return _judged.get().get(name) or METRIC_LABELS.get(name, name)


def metric_in_text(name: str) -> str:
    """The label within a sentence; an unknown name stays as it is written."""
    label = metric_label(name)
    return label if label == name else label.lower()


@contextmanager
def labels_of(*studies: Study) -> Iterator[None]:
    """Let `metric_label` name accuracy and loss meanwhile by the images that these studies measure them on."""
    settings = [cell.own_settings for study in studies for cell in study.cells if cell.own_settings is not None]
    splits = {each.validation.split for each in settings}
    images = "" if "test" not in splits else "Test" if splits == {"test"} else "Validation or test"
    labels = {VAL_ACCURACY: f"{images} accuracy", VAL_LOSS: f"{images} loss"} if images else {}
    token = _judged.set(labels)
    try:
        yield
    finally:
        _judged.reset(token)


def labelled(write: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[A, P], T]:
    """Let a function use the labels of its first argument's study. It must not be a generator."""

    @wraps(write)
    def call(about: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with labels_of(about.study):
            return write(about, *args, **kwargs)

    return call


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


def shown_interval(summary: Summary, metric: str) -> Interval | None:
    """The interval of the mean; None where the range of the seeds says more.

    That is so of two seeds, and where the interval goes beyond what the metric can be, such as above 100 %.
    """
    return summary.shown_interval(*bounds(metric))


def mean_text(summary: Summary, metric: str, *, ends: bool = True) -> str:
    """`97.2 ± 0.4 %`, of one seed `97.2 %`, of two or far apart `63.4 % (10.0 to 91.0 %)`; `ends` are the brackets."""
    interval = shown_interval(summary, metric)
    half = interval.half if interval else None
    spread = f"{_THIN}±{_THIN}{_number(half, half, metric)}" if half is not None else ""
    brackets = f" ({range_text(summary, metric)})" if ends and summary.interval and not interval else ""
    return f"{_number(summary.mean, half, metric)}{spread}{_unit(metric)}{brackets}"


def interval_text(summary: Summary, metric: str) -> str:
    """The ends of the interval; a dash without one."""
    interval = shown_interval(summary, metric)
    if interval is None:
        return _DASH
    low, high, half = interval.low, interval.high, interval.half
    return f"{_number(low, half, metric)} to {_number(high, half, metric)}{_unit(metric)}"


def range_text(summary: Summary, metric: str) -> str:
    """The lowest and the highest seed, or the value of the only one."""
    low, high = (number_text(value, summary, metric) for value in (summary.min, summary.max))
    return f"{low}{_unit(metric)}" if summary.n == 1 else f"{low} to {high}{_unit(metric)}"


def value_text(value: float, metric: str, half: float | None = None) -> str:
    """A value with its unit, rounded as an interval of that half width is."""
    return f"{_number(value, half, metric)}{_unit(metric)}"


def number_text(value: float, summary: Summary, metric: str) -> str:
    """A number of a summary, rounded as its mean is, without the unit."""
    interval = shown_interval(summary, metric)
    return _number(value, interval.half if interval else None, metric)


def _number(value: float, half: float | None, metric: str) -> str:
    """One decimal of a per cent, two if the interval is below 0.1 points; other metrics as `_plain_number`."""
    if not is_share(metric):
        return _plain_number(value, half).replace("-", _MINUS)
    decimals = 2 if half is not None and half < 0.001 else 1
    return f"{100 * value:z.{decimals}f}".replace("-", _MINUS)


def _plain_number(value: float, half: float | None) -> str:
    """A number to two digits of its interval, and of its own; to four digits where the interval is not known."""
    if not half or not math.isfinite(half) or not abs(value) < _LARGE:
        return f"{value:z.4g}"
    decimals = max(1 - math.floor(math.log10(min(half, abs(value) or half))), 0)
    return f"{value:z.{decimals}f}" if decimals <= _MOST_DECIMALS else f"{value:z.4g}"


def _unit(metric: str) -> str:
    return f"{_THIN}%" if is_share(metric) else ""


def target_text(value: float, metric: str) -> str:
    """A target with all of its digits, so that one which is narrowly missed does not look reached."""
    if not is_share(metric):
        return f"{value:.10g}".replace("-", _MINUS)
    text = f"{100 * value:.10g}"
    return f"{text if '.' in text else f'{text}.0'}{_THIN}%"


def margin_text(margin: float, metric: str) -> str:
    """A difference, in percentage points if the metric is a share."""
    return plural(round(100 * margin, 6), "point") if is_share(metric) else f"{margin:.4g}"


def signed_text(value: float, half: float, metric: str, *, unit: bool = True) -> str:
    """A difference, in percentage points if the metric is a share; a second decimal if the interval is narrow.

    Student's t knows no bounds, but shares are never more than 100 points apart.
    """
    if not is_share(metric):
        return _number(value, half, metric)
    text = f"{100 * min(max(value, -1.0), 1.0):z.{2 if half < 0.01 else 1}f}".replace("-", _MINUS)
    return f"{text} points" if unit else text


def estimate_text(value: float, interval: Interval | None, metric: str, *, difference: bool = False) -> str:
    """`97.2 ± 0.4 %`, or `2.1 ± 0.4 points` for a difference; the ends of an interval that was cut off at a bound."""
    unit = (" points" if is_share(metric) else "") if difference else _unit(metric)
    number = _number(value, interval.half if interval else None, metric)
    if half := half_text(value, interval, metric):
        return f"{number}{_THIN}±{_THIN}{half}{unit}"
    ends = (_number(end, interval.half, metric) for end in (interval.low, interval.high)) if interval else ()
    return f"{number}{unit} ({' to '.join(ends)}{unit})" if interval else f"{number}{unit}"


def half_text(value: float, interval: Interval | None, metric: str) -> str | None:
    """Half of an interval, without the unit; None without one, and of one that was cut off at a bound of the metric."""
    if interval is None or not math.isclose(value - interval.low, interval.high - value, rel_tol=1e-6):
        return None
    return _number(interval.half, interval.half, metric)


def p_text(p: float) -> str:
    """`p = 0.016`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def ratio_text(ratio: float) -> str:
    """A ratio with two or three digits: `0.31`, `1.04`, `12`."""
    if not 0.001 <= ratio < 1000:
        return f"{ratio:.1e}"
    return f"{ratio:.2g}" if ratio < 1 else f"{ratio:.3g}"


def duration(seconds: float | None) -> str:
    """Seconds in their two largest units; a dash if unknown."""
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
    """A count with three digits and a prefix: `11.2 M`; a dash if unknown."""
    if value is None:
        return _DASH
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{_THIN}{prefix}"
    return f"{value:.3g}"


def timestamp(when: datetime | None) -> str:
    """Date and time in the zone of the record; a dash if unknown."""
    return when.strftime("%Y-%m-%d %H:%M %Z").strip() if when is not None else _DASH


def plural(count: float, word: str) -> str:
    """`1 trial`, `2 trials`, `0.5 points`."""
    return f"{count:,.12g} {word}{'' if count == 1 else 's'}"


def moment_text(at: At | None) -> str:
    """`epoch 1`, `step 782`, `the end`."""
    if at is None:
        return "the end"
    return f"epoch {at.epoch:g}" if at.epoch is not None else f"step {at.step:,}"
