"""The page of a comparison of two studies, as variables of its template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cifarsweep.analysis.comparison import Comparison, Match
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import (
    duration,
    labels_of,
    mean_text,
    metric_in_text,
    metric_label,
    plural,
    ratio_text,
    signed_text,
    timestamp,
)
from cifarsweep.report.marks import Scale, interval_mark
from cifarsweep.spec.metrics import is_share
from cifarsweep.stats import Interval
from cifarsweep.stats.estimate import FEWEST_SEEDS, Estimate

#: Width of the mark in a row, in pixels.
MARK_WIDTH = 170
#: The scale reaches at least this far to both sides.
_LEAST_REACH = 0.005


def comparison_view(comparison: Comparison) -> dict[str, Any]:
    """The variables of `compare.html`."""
    reach = _reach(comparison.matches)
    return {
        "title": f"{comparison.a.study.name} against {comparison.b.study.name}",
        "sides": [_side("A", comparison.a), _side("B", comparison.b)],
        "lead": lead(comparison),
        "rows": [_row(match, reach, same_devices=comparison.same_devices) for match in comparison.matches],
        "accuracy": _accuracy(comparison),
        "shows_new_images": any(match.new_images for match in comparison.matches),
        "reach": f"{100 * reach if is_share(_metric(comparison)) else reach:.2g}",
        "mark_width": MARK_WIDTH,
        "fewest": FEWEST_SEEDS,
        "same_devices": comparison.same_devices,
        "only": [
            {"side": side, "cells": "; ".join(names)}
            for side, names in (("A", comparison.only_a), ("B", comparison.only_b))
            if names
        ],
        "imported": comparison.a.study.imported or comparison.b.study.imported,
        "unlike": comparison.differences,
        "made_at": timestamp(max(comparison.a.made_at, comparison.b.made_at)),
        "version": comparison.a.version,
    }


def lead(comparison: Comparison) -> str:
    """Count the findings in a sentence."""
    if not comparison.matches:
        return "The two have no cell in common: nothing can be compared."
    counts = Counter(match.finding for match in comparison.matches)
    more, few, none = counts["higher"], counts["too few seeds"], counts["no result yet"]
    same = counts["no difference shown"]
    rest = [f"for {same} no difference is shown"] if same or not few + none else []
    rest += [f"{few} {'has' if few == 1 else 'have'} too few seeds to tell"] if few else []
    rest += [f"{none} {'has' if none == 1 else 'have'} no result yet"] if none else []
    of, reach = plural(len(comparison.matches), "cell"), "reaches" if more == 1 else "reach"
    return (
        f"Of {of} that both have, {more} {reach} a higher {_in_text(comparison)} in B "
        f"than in A and {counts['lower']} a lower one; {', '.join(rest)}.{_copies_text(comparison)}"
    )


def _copies_text(comparison: Comparison) -> str:
    """Say how much of it compares a training with itself; empty if nothing does."""
    copied = [match.copies for match in comparison.matches if match.copies]
    if not copied:
        return ""
    pairs, are = plural(sum(copied), "pair"), "is" if sum(copied) == 1 else "are"
    return (
        f" Careful: in {plural(len(copied), 'cell')}, {pairs} of trials {are} one training, taken over bit for bit: "
        "accuracies and times are equal by construction there, which is no evidence."
    )


def _metric(comparison: Comparison) -> str:
    return comparison.a.study.metric


def _accuracy(comparison: Comparison) -> str:
    with labels_of(comparison.a.study, comparison.b.study):
        return metric_label(_metric(comparison))


def _in_text(comparison: Comparison) -> str:
    with labels_of(comparison.a.study, comparison.b.study):
        return metric_in_text(_metric(comparison))


def _side(label: str, report: ReportStudy) -> dict[str, str]:
    done = sum(trial.done for trial in report.trials)
    return {
        "label": label,
        "name": report.study.name,
        "question": report.study.question,
        "database": report.database,
        "progress": f"{done} of {plural(len(report.trials), 'trial')} done",
    }


def _reach(matches: Sequence[Match]) -> float:
    """How far the common scale goes to both sides; the wide intervals of few seeds run off its edge."""
    values = [abs(match.estimate.value) for match in matches if match.estimate]
    halves = [interval.half for match in matches if (interval := match.interval)]
    middle = sorted(halves)[len(halves) // 2] if halves else 0.0
    least = _LEAST_REACH if all(is_share(match.a.metric) for match in matches) else 0.0
    return max(1.2 * (max(values, default=0.0) + middle), least) or 1.0


def _row(match: Match, reach: float, *, same_devices: bool) -> dict[str, Any]:
    estimate, metric = match.estimate, match.a.metric
    difference = _difference_text(estimate, match.interval, metric) if estimate else None
    scale, unit = Scale(-reach, reach, MARK_WIDTH, 8), " points" if is_share(metric) else ""
    label = f"difference {difference}{unit}"
    return {
        "cell": match.a.cell.name,
        "other": match.b.cell.name if match.b.cell.name != match.a.cell.name else None,
        "a": _mean(match.a),
        "b": _mean(match.b),
        "difference": difference,
        "new_images": _ends_text(match.new_images.interval, metric) if match.new_images else None,
        "mark": interval_mark(estimate.value, match.interval, scale, label) if estimate else None,
        "seeds": _seeds(match) if estimate else None,
        "p": _p_text(match.corrected) if estimate and estimate.n >= FEWEST_SEEDS else None,
        "finding": match.finding,
        "time": _time(match) if same_devices else None,
    }


def _seeds(match: Match) -> str:
    counts = [result.accuracy.n for result in (match.a, match.b) if result.accuracy]
    return f"{plural(counts[0], 'seed')} a side" if len(set(counts)) == 1 else " and ".join(map(str, counts)) + " seeds"


def _mean(result: CellResult) -> tuple[str, str] | None:
    accuracy = result.accuracy
    return (mean_text(accuracy, result.metric), f"n = {accuracy.n}") if accuracy else None


def _difference_text(estimate: Estimate, interval: Interval | None, metric: str) -> str:
    half = interval.half if interval else 1.0
    value = signed_text(estimate.value, half, metric, unit=False)
    if interval is None:
        return value
    return f"{value} ({_ends_text(interval, metric)})"


def _ends_text(interval: Interval, metric: str) -> str:
    low, high = (signed_text(end, interval.half, metric, unit=False) for end in (interval.low, interval.high))
    return f"{low} to {high}"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _time(match: Match) -> str | None:
    if not match.a.seconds or not match.b.seconds:
        return None
    return f"{ratio_text(match.b.seconds / match.a.seconds)} × {duration(match.a.seconds)}"
