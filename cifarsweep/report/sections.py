"""Sections of a study's page: factors that cross, a search, resources, what else differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from cifarsweep.analysis.confounds import Confound, confounds, spread_text, timing_note
from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.analysis.results import CellResult, reach
from cifarsweep.analysis.samples import match_cells
from cifarsweep.formatting import keep_together, magnitude, metric_label, plural, value_text
from cifarsweep.report.marks import Scale
from cifarsweep.spec.metrics import (
    ENERGY,
    FLOPS,
    GPU_MEMORY,
    GPU_TEMPERATURE,
    MEMORY,
    RESOURCE_LABELS,
    UNITS,
    VAL_ACCURACY,
)
from cifarsweep.spec.search_space import Choices, Parameter, Range
from cifarsweep.spec.study import Study, cell_name, level_text, same_level
from cifarsweep.spec.types import Value

#: Tables of a page, and levels of a factor that are still read as a table.
_MOST_TABLES, _MOST_LEVELS = 3, 24
#: By row and column, the cells with a result.
_Grid = list[list[list[CellResult]]]


@dataclass(frozen=True, slots=True)
class _Shades:
    low: float
    high: float
    cut: bool
    """Whether some means are below `low`."""

    @classmethod
    def of(cls, means: Sequence[float]) -> _Shades:
        low = reach(means)
        return cls(min(means) if low is None else low, max(means), low is not None)

    def share(self, mean: float) -> float:
        if self.high == self.low:
            return 0.5
        return round(max(mean - self.low, 0.0) / (self.high - self.low), 3)


def interactions(study: Study, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    """A table for each pair of factors with two levels or more, of those that the study crosses in full or in part."""
    factors = [key for key, levels in study.factors.items() if 1 < len(levels) <= _MOST_LEVELS]
    tables = [_table(study, results, rows, columns) for rows, columns in combinations(factors, 2)]
    return [table for table in tables if table is not None][:_MOST_TABLES]


def _table(study: Study, results: Sequence[CellResult], rows: str, columns: str) -> dict[str, Any] | None:
    across, down = study.factors[columns], study.factors[rows]
    grid = [[_cells(results, {rows: row, columns: column}) for column in across] for row in down]
    # Two factors that were varied one at a time cross nowhere.
    if sum(sum(map(bool, line)) > 1 for line in grid) < 2:
        return None
    every = _places(grid)
    grid = _alike(grid, {rows, columns})
    filled = _places(grid)
    if not filled:
        return None
    shades = _Shades.of([_mean(cells) for cells in filled])
    return {
        "rows": rows,
        "columns": columns,
        "heads": [level_text(level) for level in across],
        "lines": [
            {"head": level_text(level), "cells": [_shown(cells, shades) for cells in line]}
            for level, line in zip(down, grid, strict=True)
        ],
        "averaged": max(len(cells) for cells in filled) > 1,
        "left_out": _left_out(every, filled, {rows, columns}),
        "least": value_text(shades.low, VAL_ACCURACY) if shades.cut else None,
    }


def _cells(results: Sequence[CellResult], wanted: dict[str, Value]) -> list[CellResult]:
    return [
        result
        for result in results
        if result.accuracy and all(same_level(result.cell.levels.get(key), level) for key, level in wanted.items())
    ]


def _alike(grid: _Grid, named: Collection[str]) -> _Grid:
    """The cells with a counterpart at all places that have any: else a difference might be that of another factor."""
    groups = [[result.cell for result in place] for place in _places(grid)]
    names = {cell.name for group in match_cells(groups, named) for cell in group}
    return [[[result for result in place if result.cell.name in names] for place in line] for line in grid]


def _places(grid: _Grid) -> list[list[CellResult]]:
    return [place for line in grid for place in line if place]


def _left_out(every: Sequence[list[CellResult]], kept: Sequence[list[CellResult]], named: Collection[str]) -> str:
    lost = sum(map(len, every)) - sum(map(len, kept))
    if not lost:
        return ""
    first, *others = kept[0]
    if others:
        return f"{plural(lost, 'cell')} without a counterpart at some place {'is' if lost == 1 else 'are'} left out."
    rest = {key: level for key, level in first.cell.levels.items() if key not in named}
    has = "cell has" if lost == 1 else "cells have"
    return f"Shown is {cell_name(rest, list(rest))} alone: {lost} other {has} no counterpart at some place."


def _mean(cells: Sequence[CellResult]) -> float:
    return fmean(result.accuracy.mean for result in cells if result.accuracy)


def _shown(cells: Sequence[CellResult], shades: _Shades) -> dict[str, Any] | None:
    if not cells:
        return None
    mean = _mean(cells)
    half = cells[0].accuracy.interval if len(cells) == 1 and cells[0].accuracy else None
    return {
        "mean": value_text(mean, VAL_ACCURACY),
        "half": value_text(half.half, VAL_ACCURACY) if half else None,
        "share": shades.share(mean),
    }


#: Of one plot, in pixels, with room for the dots at its edges.
WIDTH, HEIGHT, _MARGIN = 220, 120, 6
#: A trial of a search, and the accuracy that it reached.
_Point = tuple[ReportTrial, float]


def search_view(report: ReportStudy) -> dict[str, Any] | None:
    """The variables of the section on the search; None of a study that compares."""
    search = report.study.search
    if search is None:
        return None
    reached = [(trial, value) for trial in report.trials if (value := _reached(trial)) is not None]
    values = [value for _, value in reached] or [0.0, 1.0]
    height = Scale(min(values), max(values), HEIGHT, _MARGIN)
    return {
        "sentences": list(_search_sentences(report, len(reached))),
        "plots": [_plot(key, parameter, reached, height) for key, parameter in search.space.items()] if reached else [],
        "low": value_text(height.low, VAL_ACCURACY),
        "high": value_text(height.high, VAL_ACCURACY),
        "pruned": any(trial.pruned for trial, _ in reached),
        "width": WIDTH,
        "height": HEIGHT,
    }


def _reached(trial: ReportTrial) -> float | None:
    value = trial.final.get(VAL_ACCURACY) if trial.done else None
    return value if value is not None and math.isfinite(value) else None


def _search_sentences(report: ReportStudy, done: int) -> list[str]:
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


def _plot(
    key: str, parameter: Parameter, reached: Sequence[tuple[ReportTrial, float]], height: Scale
) -> dict[str, Any]:
    points = [
        {
            "x": _across(parameter, trial.levels[key]),
            "y": round(HEIGHT - height.pixel(value), 1),
            "pruned": trial.pruned,
            "title": f"{level_text(trial.levels[key])}: {value_text(value, VAL_ACCURACY)}",
        }
        for trial, value in reached
        if key in trial.levels
    ]
    ends = [level_text(end) for end in parameter.ends]
    plot = {"key": key, "points": points, "ticks": ends, "choices": True, "log": False}
    if isinstance(parameter, Choices):
        return plot
    ticks = [ends[0], level_text(_middle(parameter)), ends[1]]
    return plot | {"ticks": ticks, "choices": False, "log": parameter.log}


def _middle(parameter: Range) -> Value:
    """What stands half-way along the axis, with two digits."""
    low, high = float(parameter.low), float(parameter.high)
    return float(f"{math.sqrt(low * high) if parameter.log else (low + high) / 2:.2g}")


def _across(parameter: Parameter, value: Value) -> float:
    """Where a level stands along the axis, in pixels."""
    if isinstance(parameter, Choices):
        keys = [repr(choice) for choice in parameter.choices]
        index = keys.index(repr(value)) if repr(value) in keys else 0
        return Scale(-0.5, len(keys) - 0.5, WIDTH, _MARGIN).pixel(index)
    assert isinstance(value, int | float)
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return Scale(low, high, WIDTH, _MARGIN).pixel(at)


#: Metrics of which the highest value counts, and those of which the last: they add up.
_HIGHEST = frozenset({GPU_MEMORY, GPU_TEMPERATURE, MEMORY})
_TOTALS = {FLOPS: "", ENERGY: "J"}


def resource_table(report: ReportStudy, results: Sequence[CellResult]) -> dict[str, Any] | None:
    """A row a cell, of its trials that are done: means over training, highest values, totals. None without any."""
    columns = [name for name in (*RESOURCE_LABELS, *_TOTALS) if any(key[1] == name for key in report.series)]
    rows = [(result, [_cell_value(report, result, name) for name in columns]) for result in results]
    kept = [place for place in range(len(columns)) if any(values[place] is not None for _, values in rows)]
    if not kept:
        return None
    return {
        "heads": [_resource_head(columns[place]) for place in kept],
        "rows": [
            {
                "cell": result.cell.name,
                "values": [_resource_text(columns[place], values[place]) for place in kept],
            }
            for result, values in rows
        ],
    }


def _resource_head(name: str) -> str:
    return f"{metric_label(name)}{', highest' if name in _HIGHEST else ''}"


def _resource_text(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    if name in _TOTALS:
        text, unit = magnitude(value), _TOTALS[name]
        return f"{text}{unit}" if text[-1].isalpha() or not unit else f"{text}\N{NARROW NO-BREAK SPACE}{unit}"
    unit, one = UNITS.get(name, ("", 1.0))
    number = value / one
    text = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.1f}"
    return f"{text}\N{NARROW NO-BREAK SPACE}{unit}" if unit else text


def _cell_value(report: ReportStudy, result: CellResult, name: str) -> float | None:
    """The mean over the trials."""
    values = [value for trial in result.trials if (value := _trial_value(report, trial, name)) is not None]
    return fmean(values) if values else None


def _trial_value(report: ReportStudy, trial: ReportTrial, name: str) -> float | None:
    series: Series | None = report.series.get((trial.number, name)) if trial.done else None
    if series is None:
        return None
    values = series[1][np.isfinite(series[1])]
    if not values.size:
        return None
    summed: Callable[..., Any] = np.max if name in _HIGHEST else np.mean
    return float(values[-1] if name in _TOTALS else summed(values))


#: More cells than this are counted rather than named.
_NAMED = 4


def confound_view(study: Study, results: Sequence[CellResult]) -> dict[str, Any]:
    """The rows of the table, its sentence, and what is to be said of times."""
    found = confounds(study, results)
    return {
        "rows": [_confound_row(confound, len(results)) for confound in found],
        "sentence": keep_together(_confound_sentence(study, found, results)),
        "timing": timing_note(results),
    }


def _confound_sentence(study: Study, found: Sequence[Confound], results: Sequence[CellResult]) -> str:
    if not any(result.done for result in results):
        return "Nothing is known of this yet: no trial is done."
    if study.imported and not found:
        return "The imported logs do not say what their trials ran with."
    cells = len(results)
    if cells == 1 and not found:
        return "There is one cell only, and all of its trials ran in the same surroundings."
    if not found:
        return (
            "Nothing: steps, time (within 10 %), parameters, FLOPs, devices and versions are the same in all cells, "
            "as far as they are recorded."
        )
    return (
        "A difference in results may come from these as well, unless a factor brings them about. Steps, times and "
        "sizes are means over the seeds that trained to their end; times are listed from a difference of 10 % on."
    )


def _confound_row(confound: Confound, cells: int) -> dict[str, Any]:
    groups = [
        {
            "value": group.value,
            "cells": _cell_names(group.cells, cells),
            "all": ", ".join(group.cells),
        }
        for group in confound.groups
    ]
    return {"what": confound.what, "groups": groups, "spread": spread_text(confound)}


def _cell_names(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return "mixed in all cells"
    return " / ".join(names) if len(names) <= _NAMED else plural(len(names), "cell")
