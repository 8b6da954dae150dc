"""The curves of single trials, for the reader who compares two of them: as many as a page has room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.formatting import metric_label
from cifarsweep.report.figures import AXES, kept_points, metric_rank, packed, packed_clock
from cifarsweep.spec.metrics import ELAPSED, ENERGY, UNITS, is_share

#: Points of a trial's curve, and of the curves of all trials on a page: 60,000 take half a megabyte.
POINTS, POINTS_OF_A_PAGE = 120, 60_000
#: Axes that the trials of a cell do not share, points of such an axis, and trials that have room for theirs.
_OWN_AXES, _KNOTS, _MOST_CLOCKS = (ELAPSED, ENERGY), 16, 300


def trial_curves(report: ReportStudy, trials: Sequence[ReportTrial]) -> dict[str, Any]:
    """The curves of these trials, ready for JSON: of every metric, or of many trials of those that come first.

    `steps` holds every row of steps once; a curve has the place of its own there, its values, and `left_out` names the
    metrics for which there is no room. `clocks` has time and energy of each trial, of many trials none.
    """
    numbers = {trial.number for trial in trials}
    names = {name for number, name in report.series if number in numbers} - set(AXES)
    places: dict[bytes, int] = {}
    grids: list[Any] = []
    metrics, left_out, room = [], [], POINTS_OF_A_PAGE
    for name in sorted(names, key=lambda name: (name != report.study.metric, *metric_rank(name))):
        found = _finite(report, trials, name)
        points = sum(min(steps.size, POINTS) for steps, _ in found.values())
        if points > room:
            left_out.append(metric_label(name))
            continue
        room -= points
        curves = {}
        for number, (steps, values) in found.items():
            kept = kept_points(steps, values, POINTS)
            place = places.setdefault(steps[kept].tobytes(), len(places))
            if place == len(grids):
                grids.append(packed(steps[kept]))
            curves[number] = {"steps": place, "values": packed(values[kept] / UNITS.get(name, ("", 1.0))[1])}
        metrics.append(_metric(name) | {"curves": curves})
    return {"steps": grids, "metrics": metrics, "left_out": left_out, "clocks": _clocks(report, trials)}


def _clocks(report: ReportStudy, trials: Sequence[ReportTrial]) -> dict[str, dict[int, Any]]:
    """The axes of each trial that others of its cell do not share."""
    if len(trials) > _MOST_CLOCKS:
        return {}
    found = {axis: _finite(report, trials, axis) for axis in _OWN_AXES}
    return {
        axis: {number: packed_clock(steps, np.maximum.accumulate(at), _KNOTS) for number, (steps, at) in one.items()}
        for axis, one in found.items()
        if one
    }


def _metric(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": metric_label(name),
        "unit": UNITS.get(name, ("", 1.0))[0],
        "share": is_share(name),
    }


def _finite(report: ReportStudy, trials: Sequence[ReportTrial], name: str) -> dict[int, Series]:
    """The curve of each trial that has one, without what is not finite."""
    found: dict[int, Series] = {}
    for trial in trials:
        if (trial.number, name) in report.series:
            steps, values = report.series[trial.number, name]
            known = np.isfinite(values)
            if known.any():
                found[trial.number] = np.asarray(steps)[known], np.asarray(values)[known]
    return found
