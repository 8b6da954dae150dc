"""The page of a study, as variables of its template."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.reported_runs import RunsFound
from cifarsweep.analysis.results import CellResult, best, named_means, reach
from cifarsweep.analysis.study import StudyAnalysis, shown_trials
from cifarsweep.formatting import (
    duration,
    interval_text,
    keep_together,
    labelled,
    magnitude,
    mean_text,
    metric_in_text,
    metric_label,
    range_text,
    shown_interval,
    timestamp,
)
from cifarsweep.report.effects_section import effects_view, method_note
from cifarsweep.report.factors import factor_payload, level_places, page_factors
from cifarsweep.report.figures import CLASSES_SHOWN, POINTS, class_payload, cost_payload, curve_payload, gap_payload
from cifarsweep.report.images_section import images_view
from cifarsweep.report.marks import Scale, interval_mark
from cifarsweep.report.notes import curve_note, figure_notes, left_out_notes, warnings
from cifarsweep.report.palette import MARKS, CellStyle, cell_styles
from cifarsweep.report.possible_text import possible_view
from cifarsweep.report.reported_runs import run_payload
from cifarsweep.report.reported_text import reported_view
from cifarsweep.report.reproduce import reproduce_view
from cifarsweep.report.search_section import called_by_number, search_payload, search_view
from cifarsweep.report.sections import confound_view, resource_table
from cifarsweep.report.sort_values import cell_ranks, sort_value
from cifarsweep.report.summary import counts_text, failures, lead, verdict_row
from cifarsweep.report.trial_curves import trial_curves
from cifarsweep.report.trials_section import differing_settings, own_notes, trials_view
from cifarsweep.report.verdict_text import hypothesis_view
from cifarsweep.spec.cell_names import other_names
from cifarsweep.spec.levels import cell_name, level_text
from cifarsweep.spec.metrics import TEST_ACCURACY, VAL_ACCURACY, is_loss, is_share
from cifarsweep.spec.study import Cell
from cifarsweep.stats import Summary

#: Width of the mark in a row of the table of results, in pixels.
MARK_WIDTH = 130
#: Heights in the plots of dots, in pixels: the frame, a row of a cell, a row of a class. The page reserves the space
#: before it draws, so that nothing jumps.
_FRAME, _CELL_ROW, _CLASS_ROW = 74, 34, 28
#: With more cells than this, rows are narrower and report.js draws smaller dots.
_ROOMY, _NARROW_ROW = 40, 18
#: Characters of a cell's name that take two lines at most beside all columns.
_SHORT_NAME = 24


@labelled
def study_view(analysis: StudyAnalysis) -> dict[str, Any]:
    """The variables of `page.html`."""
    analysis = called_by_number(analysis)
    report, study, every = analysis.report, analysis.study, analysis.results
    cells = tuple(cell for cell in study.cells if cell.name in analysis.shown)
    shown = replace(report, study=study.model_copy(update={"cells": cells}))
    results = [result for result in every if result.cell.name in analysis.shown]
    trials = shown_trials(report, analysis.shown)
    listed = {trial.number for trial in trials}
    cells_left_out, trials_left_out = left_out_notes(report, analysis.shown, trials)
    styles, scale, top = cell_styles(shown.study), _scale(results), best(results)
    metric = study.metric
    most_classes = max((len(found.counts) for found in report.confusion.values()), default=0)
    return {
        "title": study.name,
        "question": study.question,
        "source": study.source,
        "cost": study.cost,
        "own_notes": own_notes(report, None),
        "lead": lead(report, every),
        "left_out": {"cells": cells_left_out, "trials": trials_left_out},
        "shown_points": len(results) if study.search is not None else None,
        "verdicts": [verdict_row(verdict) for verdict in analysis.verdicts],
        **_metric_words(metric),
        "of_program": study.program is not None,
        "error_rate_warnings": keep_together(" ".join(warnings(report))),
        "reported": reported_view(analysis),
        "confounds": confound_view(study, every),
        "ranks": cell_ranks({one.cell.name: {} if study.search else one.cell.levels for one in results}),
        "results": [_result_row(result, styles[result.cell.name], scale, listed, result is top) for result in results],
        "scale": [_end_text(end, metric) for end in (scale.low, scale.high)] if scale else None,
        "mark_width": MARK_WIDTH,
        "finals_height": _FRAME + (_CELL_ROW if len(results) <= _ROOMY else _NARROW_ROW) * len(results),
        "classes_height": _FRAME + _CLASS_ROW * min(CLASSES_SHOWN, most_classes),
        "classes_shown": CLASSES_SHOWN,
        "styles_repeat": len(set(styles.values())) < len(styles),
        "shows_test": any(result.test is not None for result in results),
        "long_names": any(len(result.cell.name) > _SHORT_NAME for result in results),
        "shows_cost": any(result.params is not None or result.flops is not None for result in results),
        "curves_note": curve_note(POINTS),
        "effects": effects_view(analysis),
        "possible": possible_view(report),
        "resources": resource_table(report, results),
        "notes": [*map(keep_together, figure_notes(report, every)), *([method_note()] if analysis.effects else [])],
        "search": search_view(report, analysis.search, listed),
        "hypotheses": [
            hypothesis_view(verdict, named_means(verdict.hypothesis, report, every)) for verdict in analysis.verdicts
        ],
        "images_section": images_view(shown, results, analysis.verdicts),
        "settings": _common_settings(report),
        "differing": differing_settings(shown),
        "trials": trials_view(report, styles, trials),
        "trial_counts": counts_text(report),
        "reproduce": reproduce_view(report),
        "payload": _payload(shown, results, styles, analysis.runs)
        | {"search": search_payload(analysis.search), "trials": trial_curves(report, trials)},
        "made_at": timestamp(report.made_at),
        "database": report.database,
        "version": report.version,
    }


def _metric_words(metric: str) -> dict[str, str]:
    """What a page calls the metric of its study: in heads and captions, in sentences, in its tables."""
    return {
        "accuracy": metric_label(metric),
        "accuracy_in_text": metric_in_text(metric),
        "column": "Accuracy" if metric == VAL_ACCURACY else metric_label(metric),
        "images": metric_label(metric).removesuffix(" accuracy").lower(),
        "top": "lowest" if is_loss(metric) else "highest",
    }


def _scale(results: Sequence[CellResult]) -> Scale | None:
    """A scale around all seeds, of shares in whole per cent; a wider interval runs off the edge of its mark."""
    known = [result.accuracy for result in results if result.accuracy is not None]
    if not known:
        return None
    low, high = min(s.min for s in known), max(s.max for s in known)
    if not is_share(results[0].metric):
        room = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
        return Scale(low - room, high + room, MARK_WIDTH, 6)
    room = max(0.15 * (high - low), 0.01)
    ends = math.floor(100 * max(low - room, 0.0)) / 100, math.ceil(100 * min(high + room, 1.0)) / 100
    return Scale(*ends, MARK_WIDTH, 6)


def _end_text(end: float, metric: str) -> str:
    return f"{100 * end:.0f} %" if is_share(metric) else f"{end:.3g}".replace("-", "\N{MINUS SIGN}")


def _result_row(
    result: CellResult, style: CellStyle, scale: Scale | None, listed: Collection[int], top: bool
) -> dict[str, Any]:
    accuracy, metric = result.accuracy, result.metric
    return {
        "cell": result.cell.name,
        "style": style,
        "mean": mean_text(accuracy, metric, ends=False) if accuracy else None,
        "range": range_text(accuracy, metric) if accuracy else None,
        "mark": _mark(accuracy, metric, scale) if accuracy and scale else None,
        "test": mean_text(result.test, TEST_ACCURACY) if result.test else None,
        "n": accuracy.n if accuracy else 0,
        "planned": len(result.trials),
        "time": duration(result.seconds),
        "trouble": ", ".join(failures(result)),
        "failed_at": next((one.number for one in result.trials if one.failed and one.number in listed), None),
        "params": magnitude(result.params),
        "flops": magnitude(result.flops),
        "best": top,
        "sort": _sort_values(result),
    }


def _sort_values(result: CellResult) -> dict[str, str]:
    """What the columns of table 1 sort by."""
    accuracy = result.accuracy
    values: dict[str, float | None] = {
        "mean": accuracy.mean if accuracy else None,
        "test": result.test.mean if result.test else None,
        "n": accuracy.n if accuracy else 0,
        "range": accuracy.min if accuracy else None,
        "time": result.seconds,
        "trouble": result.fell_out.count + result.failed or None,
        "params": result.params,
        "flops": result.flops,
    }
    return {name: sort_value(value) for name, value in values.items()}


def _mark(accuracy: Summary, metric: str, scale: Scale) -> dict[str, Any]:
    """The mean with its interval, or with the range of the seeds."""
    interval, label = shown_interval(accuracy, metric), f"mean {mean_text(accuracy, metric)}"
    if interval is not None:
        label += f", 95 % interval {interval_text(accuracy, metric)}"
    span = (accuracy.min, accuracy.max) if accuracy.n > 1 else None
    return interval_mark(accuracy.mean, interval, scale, label, span)


def _common_settings(report: ReportStudy) -> list[dict[str, Any]]:
    """The settings that are the same in all cells, by table; those outside of tables come first."""
    if report.study.imported:
        return []
    first, *rest = [cell.flat for cell in report.study.cells]
    groups: dict[str, list[dict[str, str]]] = {"": []}
    for key, value in first.items():
        if value is not None and all(repr(other.get(key)) == repr(value) for other in rest):
            group, _, name = key.rpartition(".")
            groups.setdefault(group, []).append({"key": name, "value": level_text(value) or "none"})
    return [{"group": group, "items": items} for group, items in groups.items() if items]


def _payload(
    report: ReportStudy, results: Sequence[CellResult], styles: Mapping[str, CellStyle], runs: RunsFound | None
) -> dict[str, Any]:
    """The data of all figures, ready for JSON."""
    factors, others = page_factors(report.study), other_names(report.study)
    cells = [
        _payload_cell(result, styles[result.cell.name])
        | {"levels": level_places(result.cell, factors)}
        | ({"also": others[result.cell.name]} if result.cell.name in others else {})
        for result in results
    ]
    curves = curve_payload(report)
    return {
        "name": report.study.name,
        "accuracy": metric_label(report.study.metric),
        "share": is_share(report.study.metric),
        "factors": factor_payload(factors),
        "marks": {dash: {"dash": dasharray, "shape": shape} for dash, (dasharray, shape) in MARKS.items()},
        "cells": cells,
        "costs": cost_payload(results),
        "reach": reach([result.accuracy.mean for result in results if result.accuracy], report.study.metric),
        "gaps": gap_payload(results) if report.study.metric == VAL_ACCURACY else None,
        "classes": class_payload(report, results),
        **curves,
        "reported": run_payload(runs, report, [metric["name"] for metric in curves["metrics"]]),
    }


def _brief(cell: Cell) -> str:
    """The levels alone if the cell's name is made from them; else the name."""
    named = {key: level for key, level in cell.levels.items() if f"={level_text(level)}" in cell.name}
    names = [cell_name(named, list(named), as_before=as_before) for as_before in (False, True)]
    return ", ".join(map(level_text, named.values())) if cell.name in names else cell.name


def _payload_cell(result: CellResult, style: CellStyle) -> dict[str, Any]:
    accuracy = result.accuracy
    interval = shown_interval(accuracy, result.metric) if accuracy else None
    done = [trial for trial in result.trials if trial.accuracy is not None]
    return {
        "name": result.cell.name,
        "brief": _brief(result.cell),
        "colour": style.colour,
        "dash": style.dash,
        "mean": accuracy.mean if accuracy else None,
        "interval": [interval.low, interval.high] if interval else None,
        "range": [accuracy.min, accuracy.max] if accuracy and accuracy.n > 1 and not interval else None,
        "seeds": [[trial.seed, trial.accuracy, trial.fell_out] for trial in done],
    }
