"""What the page of a comparison shows, worked out before the template lays it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cifarsweep.analysis.comparison import Comparison, Match
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import duration, mean_text, plural, ratio_text, signed_text, timestamp
from cifarsweep.report.marks import Scale
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.stats import Interval
from cifarsweep.stats.estimate import FEWEST_SEEDS, Estimate

#: Of the mark in a row, in pixels.
MARK_WIDTH = 170
#: Differences are drawn at least this far to both sides.
_NARROWEST = 0.005


def compare_view(found: Comparison) -> dict[str, Any]:
    """The variables of `compare.html`."""
    reach = _reach(found.matches)
    return {
        "title": f"{found.a.study.name} against {found.b.study.name}",
        "sides": [_side("A", found.a), _side("B", found.b)],
        "lead": lead(found),
        "rows": [_row(match, reach, same_devices=found.same_devices) for match in found.matches],
        "reach": f"{100 * reach:.2g}",
        "mark_width": MARK_WIDTH,
        "fewest": FEWEST_SEEDS,
        "same_devices": found.same_devices,
        "only": [
            {"side": side, "cells": "; ".join(names)}
            for side, names in (("A", found.only_a), ("B", found.only_b))
            if names
        ],
        "imported": found.a.study.imported or found.b.study.imported,
        "unlike": [{"what": one.what, "a": one.a, "b": one.b} for one in found.unlike],
        "made_at": timestamp(max(found.a.made_at, found.b.made_at)),
        "version": found.a.version,
    }


def lead(found: Comparison) -> str:
    """The answer in a sentence."""
    if not found.matches:
        return "The two have no cell in common: nothing can be compared."
    counts = Counter(match.finding for match in found.matches)
    more, few, none = counts["higher"], counts["too few seeds"], counts["no result yet"]
    same = counts["no difference shown"]
    rest = [f"for {same} no difference is shown"] if same or not few + none else []
    rest += [f"{few} {'has' if few == 1 else 'have'} too few seeds to tell"] if few else []
    rest += [f"{none} {'has' if none == 1 else 'have'} no result yet"] if none else []
    reach = "reaches" if more == 1 else "reach"
    return (
        f"Of {plural(len(found.matches), 'cell')} that both have, {more} {reach} a higher validation accuracy in B "
        f"than in A and {counts['lower']} a lower one; {', '.join(rest)}."
    )


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
    """How far the common scale goes to both sides; wide intervals of few seeds run off its edge."""
    values = [abs(match.estimate.value) for match in matches if match.estimate]
    halves = [interval.half for match in matches if (interval := _interval(match)) is not None]
    middle = sorted(halves)[len(halves) // 2] if halves else 0.0
    return max(1.2 * (max(values, default=0.0) + middle), _NARROWEST)


def _interval(match: Match) -> Interval | None:
    return match.estimate.interval() if match.estimate else None


def _row(match: Match, reach: float, *, same_devices: bool) -> dict[str, Any]:
    interval = _interval(match)
    return {
        "cell": match.a.cell.name,
        "other": match.b.cell.name if match.b.cell.name != match.a.cell.name else None,
        "a": _mean(match.a),
        "b": _mean(match.b),
        "difference": _difference_text(match, interval),
        "mark": _mark(match, interval, reach),
        "pairs": _pairs(match.estimate) if match.estimate else None,
        "p": _p_text(match.corrected) if match.estimate and match.estimate.n >= FEWEST_SEEDS else None,
        "finding": match.finding,
        "time": _time(match) if same_devices else None,
    }


def _pairs(estimate: Estimate) -> str:
    found = plural(estimate.n, "pair") if estimate.method == "paired" else f"{estimate.n} seeds a side or more"
    return f"{found}, all alike" if estimate.alike else found


def _mean(result: CellResult) -> tuple[str, str] | None:
    accuracy = result.accuracy
    return (mean_text(accuracy, VAL_ACCURACY), f"n = {accuracy.n}") if accuracy else None


def _difference_text(match: Match, interval: Interval | None) -> str | None:
    if match.estimate is None:
        return None
    half = interval.half if interval else 0.0 if match.estimate.alike else 1.0
    value = signed_text(match.estimate.value, half, VAL_ACCURACY, unit=False)
    if interval is None:
        return value
    ends = [signed_text(end, half, VAL_ACCURACY, unit=False) for end in (interval.low, interval.high)]
    return f"{value} ({ends[0]} to {ends[1]})"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _time(match: Match) -> str | None:
    if not match.a.seconds or not match.b.seconds:
        return None
    ratio = match.b.seconds / match.a.seconds
    return f"{ratio_text(ratio)} × {duration(match.a.seconds)}"


def _mark(match: Match, interval: Interval | None, reach: float) -> dict[str, Any] | None:
    if match.estimate is None:
        return None
    scale = Scale(-reach, reach, MARK_WIDTH, 8)
    ends = (interval.low, interval.high) if interval else ()
    return {
        "value": scale.pixel(match.estimate.value),
        "zero": scale.pixel(0.0),
        "ends": [{"x": scale.pixel(end), "cap": abs(end) <= reach} for end in ends],
        "label": f"difference {_difference_text(match, interval)} points",
    }
