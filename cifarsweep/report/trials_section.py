"""The table of trials, with their attempts and errors, and the table of settings that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.formatting import duration, metric_in_text, state_text, timestamp, value_text
from cifarsweep.report.palette import CellStyle
from cifarsweep.report.reproduce import environment_numbers
from cifarsweep.report.reuse_text import reused_from
from cifarsweep.report.sort_values import cell_ranks, setting_value, sort_value
from cifarsweep.report.trial_details import details_of, differing_keys
from cifarsweep.spec.devices import device_text
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import TRAIN_LOSS
from cifarsweep.spec.provenance import changes_text
from cifarsweep.spec.types import Value

if TYPE_CHECKING:
    from cifarsweep.store.trial_records import AttemptRow

SPARK_WIDTH, SPARK_HEIGHT = 72, 22
_SPARK_POINTS = 36
#: Characters of an error's last line that the closed entry shows.
_LAST_LINE = 160


def trials_view(report: ReportStudy, styles: Mapping[str, CellStyle], trials: Sequence[ReportTrial]) -> dict[str, Any]:
    """The variables of the section on trials."""
    drawn = {name for _, name in report.series}
    metric = next((name for name in (report.study.metric, TRAIN_LOSS) if name in drawn), None)
    numbers, last = environment_numbers(report), report.study.final.mean_of
    sparks = _sparks(report, metric, trials) if metric else {}
    # Points of a search are called by numbers, by which they sort.
    ranks = cell_ranks({trial.cell: {} if report.study.search else trial.levels for trial in trials})
    details, places = details_of(report), {name: at for at, name in enumerate(styles)}
    rows = [
        _row(trial, styles, numbers.get(trial.number, ()), sparks.get(trial.number))
        | {"reused": reused_from(trial, report, trials), "place": places.get(trial.cell)}
        | {"sort": _sort_values(trial, ranks)}
        | details(trial)
        | {"notes": own_notes(report, trial.number)}
        for trial in trials
    ]
    return {
        "rows": rows,
        "accuracy": "the last one" if last == 1 else f"the mean of the last {last}",
        "curves": metric_in_text(metric) if sparks and metric else None,
        "several_environments": len({each for found in numbers.values() for each in found}) > 1,
        "spark": (SPARK_WIDTH, SPARK_HEIGHT),
    }


def _row(
    trial: ReportTrial, styles: Mapping[str, CellStyle], environments: Sequence[int], spark: str | None
) -> dict[str, Any]:
    last = (trial.trained_by or trial.attempts)[-1] if trial.attempts else None
    devices = ", then ".join(trial.device_texts)
    accuracy = trial.accuracy
    return {
        "number": trial.number,
        "state": _state(trial),
        "style": styles.get(trial.cell),
        "cell": trial.cell,
        "seed": trial.seed,
        "accuracy": value_text(accuracy, trial.metric) if accuracy is not None else None,
        "steps": f"{trial.steps:,}" if trial.steps else None,
        "time": duration(trial.elapsed_s),
        "overhead": duration(overhead_s(trial)),
        "where": f"{last.host}, {devices}" if last else None,
        "environments": environments,
        "changed": changes_text(trial.changed) if trial.changed else None,
        "spark": spark,
        "attempts": [_attempt_row(attempt, trial.devices) for attempt in trial.attempts],
        "error": trial.error or None,
        "last_line": _last_line(trial.error) if trial.error else None,
    }


def own_notes(report: ReportStudy, trial: int | None) -> list[tuple[str, str]]:
    """What people noted about a trial, or about the study itself: when, and what."""
    return [(timestamp(one.written_at), one.text) for one in report.own_notes if one.trial == trial]


def _sort_values(trial: ReportTrial, ranks: Mapping[str, int]) -> dict[str, str]:
    """What the columns of the table sort by."""
    return {
        "cell": str(ranks[trial.cell]),
        "accuracy": sort_value(trial.accuracy),
        "steps": sort_value(trial.steps or None),
        "time": sort_value(trial.elapsed_s),
        "overhead": sort_value(overhead_s(trial)),
        "attempts": sort_value(len(trial.attempts) or None),
    }


def _state(trial: ReportTrial) -> str:
    if trial.fell_out:
        return "diverged" if trial.diverged else "fell out"
    return "pruned" if trial.pruned else state_text(trial.state)


def _last_line(error: str) -> str:
    """The last line of a traceback, which names the error."""
    last = (error.strip().splitlines() or [""])[-1].strip()
    return last if len(last) <= _LAST_LINE else f"{last[: _LAST_LINE - 1]}…"


def overhead_s(trial: ReportTrial) -> float | None:
    """Seconds that attempts of a finished trial took beyond the training that counts; None if unknown."""
    spans = [(attempt.ended_at - attempt.started_at).total_seconds() for attempt in trial.attempts if attempt.ended_at]
    if not trial.done or trial.elapsed_s is None or not spans or len(spans) < len(trial.attempts):
        return None
    own_s = trial.elapsed_s - (trial.reuse.seconds if trial.reuse else 0.0)
    return max(sum(spans) - own_s, 0.0)


def _attempt_row(attempt: AttemptRow, devices: int) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "where": f"{attempt.host}, {device_text(attempt.device, devices, attempt.versions)}",
        "started": timestamp(attempt.started_at),
        "ended": timestamp(attempt.ended_at),
        "end": (attempt.end or "running").replace("_", " "),
        "error": attempt.error or None,
    }


def _sparks(report: ReportStudy, metric: str, trials: Sequence[ReportTrial]) -> dict[int, str]:
    """The curve of each trial with two finite values or more, as an SVG path; all share their axes."""
    found: dict[int, Series] = {}
    for trial in trials:
        steps, values = report.series.get((trial.number, metric), (np.empty(0, np.int64), np.empty(0)))
        known = np.isfinite(values)
        if known.sum() > 1:
            found[trial.number] = steps[known], values[known]
    if not found:
        return {}
    most = max(int(steps[-1]) for steps, _ in found.values())
    low = min(float(values.min()) for _, values in found.values())
    high = max(float(values.max()) for _, values in found.values())
    span = high - low or 1.0
    return {number: _path(steps / most, (values - low) / span) for number, (steps, values) in found.items()}


def _path(across: np.ndarray[Any, Any], up: np.ndarray[Any, Any]) -> str:
    places = np.unique(np.linspace(0, across.size - 1, _SPARK_POINTS).round().astype(int))
    x = 1 + across[places] * (SPARK_WIDTH - 2)
    y = SPARK_HEIGHT - 2 - up[places] * (SPARK_HEIGHT - 4)
    return "M" + "L".join(f"{left:.0f} {top:.1f}" for left, top in zip(x, y, strict=True))


def differing_settings(report: ReportStudy) -> dict[str, Any]:
    """A table of the settings in which cells differ: its keys, and for each cell its values, and what they sort by.

    What a search varies stands in the other tables.
    """
    searched = report.study.search.space if report.study.search else ()
    cells = [(cell.name, cell.flat) for cell in report.study.cells]
    keys = [key for key in differing_keys([settings for _, settings in cells]) if key not in searched]
    ranks = cell_ranks({cell.name: cell.levels for cell in report.study.cells})
    rows = [(name, [_value_text(settings.get(key)) for key in keys]) for name, settings in cells]
    sorts = [(str(ranks[name]), [setting_value(settings.get(key)) for key in keys]) for name, settings in cells]
    return {"keys": keys, "rows": rows, "sorts": sorts}


def _value_text(value: Value) -> str:
    return "" if value is None else level_text(value)
