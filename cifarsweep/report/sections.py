"""Sections of a study's page: resources, confounds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cifarsweep.analysis.confounds import Confound, asks_for_devices, confounds, devices, normalises_by_device
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import (
    keep_together,
    magnitude,
    metric_label,
    plural,
    ratio_text,
)
from cifarsweep.report.sort_values import sort_value
from cifarsweep.spec.metrics import (
    ENERGY,
    FLOPS,
    GPU_MEMORY,
    GPU_TEMPERATURE,
    IMAGES_PER_SECOND,
    MEMORY,
    RESOURCE_LABELS,
    UNITS,
)
from cifarsweep.spec.study import Study

#: Metrics of which the highest value counts, and metrics that add up, with their units: of these the last value counts.
_HIGHEST = frozenset({GPU_MEMORY, GPU_TEMPERATURE, MEMORY})
_TOTALS = {FLOPS: "", ENERGY: "J"}
#: A column of trials on several devices: how fast each of these was.
_SPEED_OF_EACH = "Images per second and device"
#: More cells than this are counted instead of named.
_NAMED = 4


def resource_table(report: ReportStudy, results: Sequence[CellResult]) -> dict[str, Any] | None:
    """A row for each cell, over its trials that are done: means, highest values, totals. None without any."""
    recorded = {name for _, name in report.series}
    columns = {
        name: [_cell_value(report, result, name) for result in results]
        for name in (*RESOURCE_LABELS, *_TOTALS)
        if name in recorded
    }
    if IMAGES_PER_SECOND in columns and any(result.devices > 1 for result in results):
        speeds = [_cell_value(report, result, IMAGES_PER_SECOND, each=True) for result in results]
        columns = {IMAGES_PER_SECOND: columns[IMAGES_PER_SECOND], _SPEED_OF_EACH: speeds} | columns
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


def _cell_value(report: ReportStudy, result: CellResult, name: str, *, each: bool = False) -> float | None:
    """The mean over the trials of a cell, of all devices of a trial together or of each of them."""
    values = []
    for trial in result.trials:
        _, series = report.series.get((trial.number, name), ((), np.empty(0)))
        finite = series[np.isfinite(series)]
        if trial.done and finite.size:
            values.append(finite[-1] if name in _TOTALS else finite.max() if name in _HIGHEST else finite.mean())
    return fmean(values) / (result.devices if each else 1) if values else None


def confound_view(study: Study, results: Sequence[CellResult]) -> dict[str, Any]:
    """The variables of the section on confounds: its table, a sentence on it, a note on times."""
    found = confounds(study, results)
    return {
        "rows": [_confound_row(confound, len(results)) for confound in found],
        "sentence": keep_together(f"{_confound_sentence(study, found, results)} {_devices_note(study)}".rstrip()),
        "timing": _timing_note(study, results),
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


def _devices_note(study: Study) -> str:
    """What the number of devices changes beside the time, where it is a factor; empty where it is none."""
    if not asks_for_devices(study):
        return ""
    order = "the order in which gradients are added up"
    if not normalises_by_device(study):
        return f"With the number of devices {order} changes, and so do the last bits of a result."
    return (
        f"With the number of devices {order} changes, and the images that batch norm measures: each device those of "
        'its own part of a batch. batch_norm = "synchronised" measures the whole batch.'
    )


def _timing_note(study: Study, results: Sequence[CellResult]) -> str | None:
    """Why training times of cells do not compare; None if all trials ran on one model of device, and as many."""
    done = [trial for result in results for trial in result.trials if trial.done]
    models = sorted(devices(done, counted=not asks_for_devices(study)))
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
