"""What the row of a trial opens: its settings, and the last value of each of its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cifarsweep.analysis.collect import FLOPS as FLOPS_PER_IMAGE
from cifarsweep.analysis.collect import PARAMS
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.formatting import duration, magnitude, metric_label, value_text
from cifarsweep.report.figures import metric_rank
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import ELAPSED, ENERGY, FLOPS, IMAGES, LARGEST_CLASS, UNITS, VAL_IMAGES
from cifarsweep.spec.types import Value

#: What a trial records at its end that is no measurement of its training, or stands in its row.
_LEFT_OUT = frozenset({PARAMS, FLOPS_PER_IMAGE, VAL_IMAGES, LARGEST_CLASS, ELAPSED, IMAGES})
#: A half width for which a per cent gets two decimals.
_FINE = 0.0005


def details_of(report: ReportStudy) -> Callable[[ReportTrial], dict[str, Any]]:
    """A function that gives a trial's settings and last metrics, as texts in pairs."""
    cells = {cell.name: cell.flat for cell in report.study.cells}
    keys = differing_keys(list(cells.values()))
    latest = _latest(report)

    def details(trial: ReportTrial) -> dict[str, Any]:
        # Points of a search tell what was chosen for them: most are no cells of the page.
        searched = report.study.search is not None or trial.cell not in cells
        known, named = (trial.levels, list(trial.levels)) if searched else (cells[trial.cell], keys)
        last = latest.get(trial.number, {}) if not trial.done else trial.final
        names = sorted(last.keys() - _LEFT_OUT, key=lambda name: (name != trial.metric, *metric_rank(name)))
        return {
            "settings": [(key, level_text(value)) for key in named if (value := known.get(key)) is not None],
            "last": [(metric_label(name), metric_text(last[name], name)) for name in names],
        }

    return details


def differing_keys(cells: Sequence[Mapping[str, Value]]) -> list[str]:
    """The settings in which cells differ, in the order of the settings; each cell as `Cell.flat` has it."""
    keys = dict.fromkeys(key for settings in cells for key in settings)
    return [key for key in keys if len({repr(settings.get(key)) for settings in cells}) > 1]


def _latest(report: ReportStudy) -> dict[int, dict[str, float]]:
    """The newest value of each metric of the trials that are not done."""
    open_ = {trial.number for trial in report.trials if not trial.done}
    found: dict[int, dict[str, float]] = {}
    for (number, name), (_, values) in report.series.items():
        if number in open_ and values.size:
            found.setdefault(number, {})[name] = float(values[-1])
    return found


def metric_text(value: float, metric: str) -> str:
    """The value of one trial with its unit: shares with two decimals, others with four digits."""
    if metric == ELAPSED:
        return duration(value)
    if metric in (FLOPS, ENERGY):
        return f"{magnitude(value)}{'J' if metric == ENERGY else ''}"
    if metric in UNITS:
        unit, one = UNITS[metric]
        return f"{value / one:.4g}\N{NARROW NO-BREAK SPACE}{unit}"
    return value_text(value, metric, _FINE if metric.endswith("accuracy") else None)
