"""Hypotheses that a study could have, by its factors alone: what its trials found does not choose them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

from cifarsweep.errors import SpecError
from cifarsweep.spec.hypothesis import Best, Equivalent, Greater, Hypothesis, Trend
from cifarsweep.spec.levels import level_text, shown_keys
from cifarsweep.spec.metrics import is_loss, is_share
from cifarsweep.spec.study import Study, check_hypotheses
from cifarsweep.spec.types import Value
from cifarsweep.text import one_line

#: Of accuracies one point, of which most would say that it matters; of another metric its author has to say it.
_POINT, _UNKNOWN = 0.01, 0.1
#: The most of them: each takes its part of the 5 % that all verdicts share.
_MOST = 12
#: Levels that a note lists, and signs of a claim.
_LISTED, _LONGEST = 8, 300


@dataclass(frozen=True, slots=True)
class Possible:
    """A hypothesis, and by key what its author has to choose."""

    hypothesis: Hypothesis
    notes: Mapping[str, str]


def possible_hypotheses(study: Study) -> list[Possible]:
    """Return hypotheses on each factor, then on one factor at a level of another.

    Of two levels the later one is above the first (for a loss below), and the same within a margin; of more levels one
    is best, and numbers rise. None for a study without two factors, or that searches or was imported.
    """
    factors = {key: levels for key, levels in study.factors.items() if len(levels) > 1}
    if len(factors) < 2 or study.search is not None or study.imported:
        return []
    names = shown_keys(study.factors)
    found = [one for key, levels in factors.items() for one in _of_factor(study, key, names[key], levels)]
    found += [one for pair in permutations(factors, 2) for one in _at_level(study, *pair, names)]
    return [one for one in found if _fits(study, one.hypothesis)][:_MOST]


def _of_factor(study: Study, key: str, name: str, levels: tuple[Value, ...]) -> Iterator[Possible]:
    texts = [level_text(level) for level in levels]
    if len(levels) == 2:
        first, last = {key: levels[0]}, {key: levels[1]}
        yield _greater(study, last, first, f"{name} {texts[1]}", texts[0])
        margin, note = _margin(study)
        claim = _claim(f"{name} {texts[1]} and {texts[0]} are as good")
        same = Equivalent(kind="equivalent", claim=claim, a=last, b=first, margin=margin, metric=study.metric)
        yield Possible(same, {"margin": note})
        return
    best = Best(
        kind="best", claim=_claim(f"{name} {texts[-1]} is best"), factor=key, level=levels[-1], metric=study.metric
    )
    among = ", ".join(texts) if len(texts) <= _LISTED else f"the {len(texts)} levels"
    yield Possible(best, {"level": one_line(f"choose among {among}")})
    if all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels):
        claim = _claim(f"{study.metric} rises from {name} {texts[0]} to {texts[-1]}")
        trend = Trend(kind="trend", claim=claim, factor=key, direction="rising", metric=study.metric)
        yield Possible(trend, {"direction": 'or "falling"; along the levels as they are listed'})


def _at_level(study: Study, key: str, at: str, names: Mapping[str, str]) -> Iterator[Possible]:
    """One factor of two levels, at the last level of another."""
    first, *others = study.factors[key]
    if len(others) != 1:
        return
    level = study.factors[at][-1]
    where = f"at {names[at]} {level_text(level)}"
    a, b = {at: level, key: others[0]}, {at: level, key: first}
    yield _greater(study, a, b, f"{names[key]} {level_text(others[0])}", level_text(first), where)


def _greater(
    study: Study, a: dict[str, Value], b: dict[str, Value], better: str, worse: str, where: str = ""
) -> Possible:
    """That `a` is better: above `b`, and for a loss that `b` is above `a`."""
    margin, note = _margin(study)
    claim = _claim(f"{better} is better than {worse}{f' {where}' if where else ''}")
    high, low = (b, a) if is_loss(study.metric) else (a, b)
    more = Greater(kind="greater", claim=claim, a=high, b=low, margin=margin, metric=study.metric)
    return Possible(more, {"margin": f"{note}; 0 for any difference"})


def _margin(study: Study) -> tuple[float, str]:
    """What of a difference would matter, and what to say of it."""
    if is_share(study.metric):
        return _POINT, "choose what matters: 0.01 is one point"
    return _UNKNOWN, one_line(f"choose what matters, in units of {study.metric}")


def _claim(text: str) -> str:
    """A claim as a study may have it, whatever the names of levels are."""
    return one_line(text)[:_LONGEST]


def _fits(study: Study, hypothesis: Hypothesis) -> bool:
    """Whether the study could be read with it: levels may have no cell, as a file may exclude them."""
    try:
        check_hypotheses(study.model_copy(update={"hypotheses": (hypothesis,)}), study.name)
    except SpecError:
        return False
    return True
