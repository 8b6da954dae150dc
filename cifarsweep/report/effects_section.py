"""The section on effects of factors: a panel for each factor, and tables where two factors cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cifarsweep.analysis.effect_records import Effects, Interaction, LevelMean, MainEffect, MarginalMean
from cifarsweep.analysis.results import reach
from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.formatting import estimate_text, half_text, keep_together, labelled, p_text, plural, value_text
from cifarsweep.report.effects_text import (
    Names,
    dependence_sentences,
    effect_notes,
    factor_names,
    interval_text,
    main_sentence,
    noise_text,
)
from cifarsweep.report.marks import Scale
from cifarsweep.report.sort_values import setting_value, sort_value
from cifarsweep.spec.levels import level_text, levels_text
from cifarsweep.spec.metrics import is_share

#: Tables of two factors on a page.
_MOST_TABLES = 3
#: In pixels: what a panel plots into, and the room for its axis.
_PLOT, _AXIS = 180, 46
#: The same for a level: the least and the most for a label, and for one that stands upright; a sign of it.
_LEAST, _MOST, _UPRIGHT, _SIGN = 76.0, 106.0, 22.0, 6.7
#: A panel with its axis fits a phone; where its labels don't, they stand upright.
_WIDEST = 270
#: Signs of a label that are shown.
_SIGNS = 14
_TICKS = 4


@labelled
def effects_view(analysis: StudyAnalysis) -> dict[str, Any] | None:
    """The variables of `effects.html`; None for a study without crossed factors."""
    found, names = analysis.effects, factor_names(analysis.study)
    if found is None:
        return None
    scale, ticks = _axis(found)
    return {
        "sentences": [
            *(keep_together(main_sentence(main, found, names)) for main in found.factors),
            *map(keep_together, dependence_sentences(found, names)),
        ],
        "notes": list(map(keep_together, effect_notes(found, names))),
        "interval": keep_together(interval_text(found)),
        "noise": noise_text(found),
        "panels": [_panel(main, found, names, scale) for main in found.factors],
        "ticks": [{"y": _down(scale, tick), "text": _tick_text(tick, found.metric)} for tick in ticks],
        "plot": _PLOT,
        "axis": _AXIS,
        "rows": [_row(main, each, found, names) for main in found.factors for each in main.levels],
        "tables": _tables(found, names),
    }


def method_note() -> str:
    """How effects are computed, for the notes of a page."""
    return (
        "Effects of factors: the mean of a level is that of the means of its cells, each counting alike, over the "
        "cells that have a counterpart at every other level (Searle, Speed and Milliken 1980). Their intervals and "
        "tests are those of an analysis of variance, which takes runs as independent and normal with one spread in all "
        "cells: F tests of interactions (of type III where cells have unlike numbers of seeds), corrected by Holm for "
        "all pairs. Where cells differ in their spread (Bartlett's test, p below 0.2), each counts with its own: "
        "intervals after Welch and Satterthwaite, tests of ANOVA type (Brunner, Dette and Munk 1997). Verdicts take "
        "nothing from them."
    )


def _axis(found: Effects) -> tuple[Scale, list[float]]:
    """The common axis of all panels around means and intervals, and its ticks."""
    means = [each.found for main in found.factors for each in main.levels]
    ends = [
        end for one in means for end in (one.mean, *((one.interval.low, one.interval.high) if one.interval else ()))
    ]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    scale = Scale(low - room, high + room, _PLOT, 0)
    return scale, _ticks(scale.low, scale.high)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends, about `_TICKS` of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick_text(tick: float, metric: str) -> str:
    return (f"{100 * tick:.4g} %" if is_share(metric) else f"{tick:.4g}").replace("-", "\N{MINUS SIGN}")


def _down(scale: Scale, value: float) -> float:
    """Pixels from the top."""
    return round(_PLOT - scale.pixel(value), 1)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the levels of a panel stand."""

    room: float
    upright: bool
    every: int
    """Of so many levels one has a label."""

    @classmethod
    def of(cls, labels: Sequence[str]) -> _Columns:
        longest = max(min(len(label), _SIGNS) for label in labels)
        room = min(max(longest * _SIGN + 10, _LEAST), _MOST)
        if room * len(labels) <= _WIDEST:
            return cls(room, upright=False, every=1)
        room = max(min(_UPRIGHT, _WIDEST / len(labels)), 6.0)
        return cls(room, upright=True, every=math.ceil(14 / room))


def _panel(main: MainEffect, found: Effects, names: Names, scale: Scale) -> dict[str, Any]:
    labels = [level_text(each.level) for each in main.levels]
    columns = _Columns.of(labels)
    shown = [label if len(label) <= _SIGNS else f"{label[: _SIGNS - 1]}\N{HORIZONTAL ELLIPSIS}" for label in labels]
    points = [_point(each, place, columns, found, scale) for place, each in enumerate(main.levels)]
    numeric = all(isinstance(each.level, int | float) and not isinstance(each.level, bool) for each in main.levels)
    middle = sum(each.found.mean for each in main.levels) / len(main.levels)
    below = 12 + max(map(len, shown)) * _SIGN * 0.95 if columns.upright else 24
    return {
        "key": main.factor,
        "name": names[main.factor],
        "told": _told(main, found),
        "width": round(_AXIS + columns.room * len(points)),
        "height": round(_PLOT + 8 + below),
        "upright": columns.upright,
        "points": [
            point | {"label": label if place % columns.every == 0 else ""}
            for place, (point, label) in enumerate(zip(points, shown, strict=True))
        ],
        "line": " ".join(f"{point['x']},{point['y']}" for point in points) if numeric and len(points) > 1 else None,
        "middle": _down(scale, middle),
    }


def _told(main: MainEffect, found: Effects) -> str:
    """The distance of the furthest levels, below the name of the factor."""
    gap = estimate_text(main.furthest.value, main.furthest.interval, found.metric, difference=True)
    if found.preliminary or found.spread is None:
        return gap
    return gap if main.furthest.larger else "within the noise"


def _point(each: LevelMean, place: int, columns: _Columns, found: Effects, scale: Scale) -> dict[str, Any]:
    mean, interval = each.found.mean, each.found.interval
    ends = (interval.low, interval.high) if interval else ()
    return {
        "x": round(_AXIS + columns.room * (place + 0.5), 1),
        "y": _down(scale, mean),
        "ends": [_down(scale, end) for end in ends],
        "level": level_text(each.level),
        "title": f"{level_text(each.level)}: {estimate_text(mean, interval, found.metric)}",
    }


def _row(main: MainEffect, each: LevelMean, found: Effects, names: Names) -> dict[str, Any]:
    one = each.found
    return {
        "factor": names[main.factor],
        "level": level_text(each.level),
        "mean": estimate_text(one.mean, one.interval, found.metric),
        "cells": one.cells,
        "seeds": one.seeds,
        "sort": {"level": setting_value(each.level), "mean": sort_value(one.mean)},
    }


def _tables(found: Effects, names: Names) -> list[dict[str, Any]]:
    """Means where two factors cross; those pairs come first whose interaction is larger than the noise."""
    ranked = sorted(
        found.interactions, key=lambda pair: (not pair.larger, pair.test.p if pair.larger and pair.test else 0)
    )
    tests = sum(pair.corrected is not None for pair in found.interactions)
    return [_table(pair, found, names, tests) for pair in ranked[:_MOST_TABLES]]


def _table(pair: Interaction, found: Effects, names: Names, tests: int) -> dict[str, Any]:
    means = [one.mean for row in pair.means for one in row if one]
    cut = reach(means, found.metric)
    shade = Scale(min(means) if cut is None else cut, max(means), 100, 0)
    return {
        "rows": names[pair.rows],
        "columns": names[pair.columns],
        "heads": [level_text(level) for level in pair.column_levels],
        "lines": [
            {
                "head": level_text(level),
                "sort": setting_value(level),
                "cells": [_mean_cell(one, found.metric, shade) if one else None for one in row],
            }
            for level, row in zip(pair.row_levels, pair.means, strict=True)
        ],
        "averaged": pair.averaged,
        "known": found.spread is not None,
        "larger": pair.larger,
        "told": keep_together(_table_told(pair, names, tests)),
        "left_out": _left_out(pair),
        "least": value_text(cut, found.metric) if cut is not None else None,
    }


def _table_told(pair: Interaction, names: Names, tests: int) -> str:
    """Whether it is more than the noise, as the beginning of a caption; empty where nothing was tested."""
    if pair.corrected is None:
        return ""
    p = p_text(pair.corrected) + (f" corrected for {tests} pairs" if tests > 1 else "")
    depends = "depends" if pair.larger else "does not depend"
    return f"The effect of {names[pair.rows]} {depends} on {names[pair.columns]} more than the noise explains ({p})."


def _mean_cell(one: MarginalMean, metric: str, shade: Scale) -> dict[str, Any]:
    return {
        "mean": value_text(one.mean, metric, one.interval.half if one.interval else None),
        "half": half_text(one.mean, one.interval, metric),
        "share": round(shade.pixel(one.mean) / 100, 3),
        "sort": sort_value(one.mean),
    }


def _left_out(pair: Interaction) -> str:
    lost = pair.left_out
    if not lost:
        return ""
    if pair.averaged or not pair.alone:
        return f"{plural(lost, 'cell')} without a counterpart at some place {'is' if lost == 1 else 'are'} left out."
    has = "cell has" if lost == 1 else "cells have"
    return f"Shown is {levels_text(pair.alone)} alone: {lost} other {has} no counterpart at some place."
