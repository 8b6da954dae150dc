"""Where two factors cross: a table of means, shaded by their height."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from cifarsweep.analysis.results import CellResult, reach
from cifarsweep.analysis.samples import matched
from cifarsweep.formatting import plural, value_text, visible
from cifarsweep.spec.study import Study, cell_name, level_text, same_level
from cifarsweep.spec.types import VAL_ACCURACY, Value

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


def crossings(study: Study, results: Sequence[CellResult]) -> list[dict[str, Any]]:
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
        "rows": visible(rows),
        "columns": visible(columns),
        "heads": [visible(level_text(level)) for level in across],
        "lines": [
            {"head": visible(level_text(level)), "cells": [_shown(cells, shades) for cells in line]}
            for level, line in zip(down, grid, strict=True)
        ],
        "averaged": max(len(cells) for cells in filled) > 1,
        "left_out": visible(_left_out(every, filled, {rows, columns})),
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
    names = {cell.name for group in matched(groups, named) for cell in group}
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
