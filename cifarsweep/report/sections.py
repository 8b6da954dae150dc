"""Sections of a study's page: the search, resources, confounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cifarsweep.analysis.confounds import Confound, confounds, devices
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import (
    keep_together,
    magnitude,
    metric_in_text,
    metric_label,
    plural,
    ratio_text,
    value_text,
)
from cifarsweep.report.marks import Scale
from cifarsweep.report.sort_values import sort_value
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import (
    ENERGY,
    FLOPS,
    GPU_MEMORY,
    GPU_TEMPERATURE,
    MEMORY,
    RESOURCE_LABELS,
    UNITS,
    is_share,
)
from cifarsweep.spec.search_space import Choices, Parameter, Range, Search
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Value

#: Size of a plot of the search in pixels, and the margin for dots at its edges.
WIDTH, HEIGHT, _MARGIN = 220, 120, 6
#: Metrics of which the highest value counts, and metrics that add up, with their units: of these the last value counts.
_HIGHEST = frozenset({GPU_MEMORY, GPU_TEMPERATURE, MEMORY})
_TOTALS = {FLOPS: "", ENERGY: "J"}
#: More cells than this are counted instead of named.
_NAMED = 4


def search_view(report: ReportStudy) -> dict[str, Any] | None:
    """The variables of the section on the search; None for a study without one."""
    search = report.study.search
    if search is None:
        return None
    reached = [
        (trial, value)
        for trial in report.trials
        if trial.done and math.isfinite(value := trial.final.get(trial.metric, math.nan))
    ]
    values = [value for _, value in reached] or [0.0, 1.0]
    height = Scale(min(values), max(values), HEIGHT, _MARGIN)
    return {
        "sentences": list(_search_sentences(report, search, len(reached))),
        "plots": [_plot(key, parameter, reached, height) for key, parameter in search.space.items()] if reached else [],
        "low": value_text(height.low, report.study.metric),
        "high": value_text(height.high, report.study.metric),
        "pruned": any(trial.pruned for trial, _ in reached),
        "width": WIDTH,
        "height": HEIGHT,
    }


def _search_sentences(report: ReportStudy, search: Search, done: int) -> Iterator[str]:
    pruned = sum(trial.pruned for trial in report.trials)
    points = len({trial.cell for trial in report.trials})
    how = {"random": "at random", "tpe": "by TPE, in the light of those before", "cmaes": "by CMA-ES"}[search.sampler]
    ended = f"{plural(done - pruned, 'trial')} done" + (f", {pruned} pruned" if pruned else "")
    yield f"{points} of {plural(search.points, 'point')} were chosen {how}; {ended}."
    if pruned:
        yield (
            f"{plural(pruned, 'trial')} fell behind the others and {'was' if pruned == 1 else 'were'} ended early "
            f"({search.pruner}): such a trial is in no mean, and stands in the figure at the {_what(report)} it had."
        )
    if len(report.study.seeds) == 1:
        yield (
            "One seed for each point says little, and the best of many single trials owes part of its place to luck. "
            "Repeat the best points with several seeds, as arms of a study, before you conclude anything from them."
        )


def _what(report: ReportStudy) -> str:
    return "accuracy" if is_share(report.study.metric) else metric_in_text(report.study.metric)


def _plot(
    key: str, parameter: Parameter, reached: Sequence[tuple[ReportTrial, float]], height: Scale
) -> dict[str, Any]:
    """One parameter against the values that trials reached."""
    points = [
        {
            "x": _across(parameter, trial.levels[key]),
            "y": round(HEIGHT - height.pixel(value), 1),
            "pruned": trial.pruned,
            "title": f"{level_text(trial.levels[key])}: {value_text(value, trial.metric)}",
        }
        for trial, value in reached
        if key in trial.levels
    ]
    plot = {"key": key, "points": points, "choices": isinstance(parameter, Choices)}
    if isinstance(parameter, Choices):
        return plot | {"ticks": [level_text(end) for end in parameter.ends], "log": False}
    ticks = parameter.low, _middle(parameter), parameter.high
    return plot | {"ticks": [level_text(tick) for tick in ticks], "log": parameter.log}


def _middle(parameter: Range) -> Value:
    """The value in the middle of the axis, with two digits."""
    low, high = float(parameter.low), float(parameter.high)
    return float(f"{math.sqrt(low * high) if parameter.log else (low + high) / 2:.2g}")


def _across(parameter: Parameter, value: Value) -> float:
    """The place of a level along the axis, in pixels."""
    if isinstance(parameter, Choices):
        keys = [repr(choice) for choice in parameter.choices]
        index = keys.index(repr(value)) if repr(value) in keys else 0
        return Scale(-0.5, len(keys) - 0.5, WIDTH, _MARGIN).pixel(index)
    assert isinstance(value, int | float)
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return Scale(low, high, WIDTH, _MARGIN).pixel(at)


def resource_table(report: ReportStudy, results: Sequence[CellResult]) -> dict[str, Any] | None:
    """A row for each cell, over its trials that are done: means, highest values, totals. None without any."""
    recorded = {name for _, name in report.series}
    columns = {
        name: [_cell_value(report, result, name) for result in results]
        for name in (*RESOURCE_LABELS, *_TOTALS)
        if name in recorded
    }
    columns = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    if not columns:
        return None
    return {
        "heads": [f"{metric_label(name)}{', highest' if name in _HIGHEST else ''}" for name in columns],
        "rows": [
            {
                "cell": result.cell.name,
                "values": [_resource_text(name, values[index]) for name, values in columns.items()],
                "sort": [sort_value(values[index]) for values in columns.values()],
            }
            for index, result in enumerate(results)
        ],
    }


def _resource_text(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    if name in _TOTALS:
        text, unit = magnitude(value), _TOTALS[name]
        between = "" if text[-1].isalpha() else "\N{NARROW NO-BREAK SPACE}"
    else:
        unit, one = UNITS.get(name, ("", 1.0))
        text, between = f"{value / one:,.{0 if abs(value / one) >= 100 else 1}f}", "\N{NARROW NO-BREAK SPACE}"
    return f"{text}{between}{unit}" if unit else text


def _cell_value(report: ReportStudy, result: CellResult, name: str) -> float | None:
    """The mean over the trials of a cell."""
    values = []
    for trial in result.trials:
        _, series = report.series.get((trial.number, name), ((), np.empty(0)))
        finite = series[np.isfinite(series)]
        if trial.done and finite.size:
            values.append(finite[-1] if name in _TOTALS else finite.max() if name in _HIGHEST else finite.mean())
    return fmean(values) if values else None


def confound_view(study: Study, results: Sequence[CellResult]) -> dict[str, Any]:
    """The variables of the section on confounds: its table, a sentence on it, a note on times."""
    found = confounds(study, results)
    return {
        "rows": [_confound_row(confound, len(results)) for confound in found],
        "sentence": keep_together(_confound_sentence(study, found, results)),
        "timing": _timing_note(results),
    }


def _confound_sentence(study: Study, found: Sequence[Confound], results: Sequence[CellResult]) -> str:
    if not any(result.done for result in results):
        return "Nothing is known of this yet: no trial is done."
    if study.imported and not found:
        return "The imported logs do not say what their trials ran with."
    if len(results) == 1 and not found:
        return "There is one cell only, and all of its trials ran in the same surroundings."
    if not found:
        costs = "" if study.program else "parameters, FLOPs, "
        return (
            f"Nothing: steps, time (within 10 %), {costs}devices and versions are the same in all cells, "
            "as far as they are recorded."
        )
    return (
        "A difference in results may come from these as well, unless a factor brings them about. Steps, times and "
        "sizes are means over the seeds that trained to their end; times are listed from a difference of 10 % on."
    )


def _timing_note(results: Sequence[CellResult]) -> str | None:
    """Why training times of cells do not compare; None if all trials ran on one model of device."""
    models = sorted(devices(trial for result in results for trial in result.trials if trial.done))
    if len(models) < 2:
        return None
    return f"Times are of different devices ({', '.join(models)}): they tell devices apart as much as cells."


def _confound_row(confound: Confound, cells: int) -> dict[str, Any]:
    groups = [
        {"value": group.value, "cells": _cell_names(group.cells, cells), "all": ", ".join(group.cells)}
        for group in confound.groups
    ]
    spread = f"a factor of {ratio_text(confound.ratio)}" if confound.ratio is not None else ""
    return {"what": confound.what, "groups": groups, "spread": spread}


def _cell_names(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return "mixed in all cells"
    return " / ".join(names) if len(names) <= _NAMED else plural(len(names), "cell")
