"""What the trials of each cell used of their machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import RESOURCE_LABELS, UNITS, magnitude, metric_label, visible
from cifarsweep.spec.types import ENERGY, FLOPS, GPU_MEMORY, GPU_TEMPERATURE, MEMORY

#: Metrics of which the highest value counts, and those of which the last: they add up.
_HIGHEST = frozenset({GPU_MEMORY, GPU_TEMPERATURE, MEMORY})
_TOTALS = {FLOPS: "", ENERGY: "J"}


def resource_table(report: ReportStudy, results: Sequence[CellResult]) -> dict[str, Any] | None:
    """A row a cell, of its trials that are done: means over training, highest values, totals. None without any."""
    columns = [name for name in (*RESOURCE_LABELS, *_TOTALS) if any(key[1] == name for key in report.series)]
    rows = [(result, [_cell(report, result, name) for name in columns]) for result in results]
    kept = [place for place in range(len(columns)) if any(values[place] is not None for _, values in rows)]
    if not kept:
        return None
    return {
        "heads": [_head(columns[place]) for place in kept],
        "rows": [
            {"cell": visible(result.cell.name), "values": [_text(columns[place], values[place]) for place in kept]}
            for result, values in rows
        ],
    }


def _head(name: str) -> str:
    return f"{metric_label(name)}{', highest' if name in _HIGHEST else ''}"


def _text(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    if name in _TOTALS:
        text, unit = magnitude(value), _TOTALS[name]
        return f"{text}{unit}" if text[-1].isalpha() or not unit else f"{text}\N{NARROW NO-BREAK SPACE}{unit}"
    unit, one = UNITS.get(name, ("", 1.0))
    number = value / one
    text = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.1f}"
    return f"{text}\N{NARROW NO-BREAK SPACE}{unit}" if unit else text


def _cell(report: ReportStudy, result: CellResult, name: str) -> float | None:
    """The mean over the trials."""
    values = [value for trial in result.trials if (value := _trial(report, trial, name)) is not None]
    return fmean(values) if values else None


def _trial(report: ReportStudy, trial: ReportTrial, name: str) -> float | None:
    series: Series | None = report.series.get((trial.number, name)) if trial.done else None
    if series is None:
        return None
    values = series[1][np.isfinite(series[1])]
    if not values.size:
        return None
    summed: Callable[..., Any] = np.max if name in _HIGHEST else np.mean
    return float(values[-1] if name in _TOTALS else summed(values))
