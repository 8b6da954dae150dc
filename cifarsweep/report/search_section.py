"""The section on the search of a study: the best so far, importance, and every point against its parameters.

All figures are SVG of our own: they can be read without JavaScript, and each mark is a link to its trial. Places are in
per cent of the plot, from its left and from its top.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cifarsweep.analysis.best_points import best_points_name
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.search import FEW, FEWEST, Importance, Point, SearchResult
from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.formatting import metric_in_text, plural, value_text
from cifarsweep.report.axes import axis_view, number_of, place, value_ticks, whole_ticks
from cifarsweep.report.marks import Scale
from cifarsweep.report.sort_values import setting_value
from cifarsweep.spec.levels import level_text, shown_keys
from cifarsweep.spec.metrics import is_loss, is_share
from cifarsweep.spec.search_space import Choices

#: How many points and seeds the command for the next study has.
_BEST, _SEEDS = 5, 5
#: With more parameters than this, captions leave out their values.
_FEW_VALUES = 6
#: More points than this are too many to tell lines apart.
_MOST_LINES = 300


def called_by_number(analysis: StudyAnalysis) -> StudyAnalysis:
    """The same with the points of a search called `#7`, as their values are columns of a page's tables."""
    found, report = analysis.search, analysis.report
    if found is None:
        return analysis
    names = {point.cell: point.name for point in found.points}
    trials = {trial.number: replace(trial, cell=names[trial.cell]) for trial in report.trials}
    cells = {
        cell.name: cell.model_copy(update={"name": names.get(cell.name, cell.name)}) for cell in report.study.cells
    }
    return replace(
        analysis,
        report=replace(
            report,
            study=report.study.model_copy(update={"cells": tuple(cells.values())}),
            trials=tuple(trials.values()),
            confusion={names[name]: counts for name, counts in report.confusion.items()},
        ),
        results=tuple(
            replace(one, cell=cells[one.cell.name], trials=tuple(trials[each.number] for each in one.trials))
            for one in analysis.results
        ),
        shown=frozenset(names.get(name, name) for name in analysis.shown),
    )


def search_view(report: ReportStudy, found: SearchResult | None, listed: Collection[int]) -> dict[str, Any] | None:
    """The variables of the section; None for a study without a search. `listed` are the trials that the page lists."""
    if found is None:
        return None
    keys = shown_keys(found.search.space)
    base = {
        "sentences": list(_sentences(report, found)),
        "parameters": list(keys.values()),
        "values": _values(report, found),
        "next": _next(report, found),
        "shown": None,
        "falling": is_loss(found.metric),
    }
    if found.shown is None:
        return base
    scale = Scale(*found.shown, 100, 0)
    shown = [point for point in found.points if point.value is not None]
    marks = {point.number: _mark(point, found, scale, listed) for point in shown}
    numbers = Scale(shown[0].number, max(shown[-1].number, shown[0].number + 1), 100, 0)
    axes = {key: axis_view(key, keys[key], parameter) for key, parameter in found.search.space.items()}
    inside = [point for point in shown if found.search.holds(point.levels)]
    return base | {
        "shown": [value_text(value, found.metric) for value in reversed(found.shown)],
        "marks": marks,
        "beyond": _beyond(shown, found),
        "crosses": any(mark["cross"] for mark in marks.values()),
        "history": _history(shown, found, numbers, scale),
        "importance": _importance_view(found.importance, keys) if found.importance else None,
        "unknown_importance": _missing_importance(found),
        "axes": list(axes.values()),
        "slices": [
            axis | {"points": [(point.number, place(found.search.space[key], point.levels[key])) for point in inside]}
            for key, axis in axes.items()
        ],
        "lines": _lines(inside, found, marks) if len(axes) > 1 else [],
        "pair": _pair(found, list(axes), inside),
    }


def _values(report: ReportStudy, found: SearchResult) -> dict[str, list[tuple[str, str]]]:
    """For each row of the tables, by its name, the value of each parameter and what its column sorts by."""
    levels = {cell.name: cell.levels for cell in report.study.cells}
    levels |= {point.name: dict(point.levels) for point in found.points}
    return {
        name: [
            (level_text(its[key]), setting_value(its[key])) if key in its else ("", "") for key in found.search.space
        ]
        for name, its in levels.items()
    }


def search_payload(found: SearchResult | None) -> dict[str, Any] | None:
    """What search.js needs to show two parameters against each other, and to tell of a point."""
    if found is None or found.shown is None:
        return None
    keys, space = shown_keys(found.search.space), found.search.space
    return {
        "axes": [
            axis_view(key, keys[key], parameter)
            | {
                "ends": None if isinstance(parameter, Choices) else [parameter.low, parameter.high],
                "choices": len(parameter.choices) if isinstance(parameter, Choices) else None,
            }
            for key, parameter in space.items()
        ],
        "points": [
            {
                "number": point.number,
                "told": _told(point, found),
                "at": [number_of(space[key], point.levels.get(key)) for key in space],
            }
            for point in found.points
            if point.value is not None
        ],
    }


def search_fields(found: SearchResult | None) -> dict[str, Any] | None:
    """The search as plain values: every point, the best so far, and the importance of parameters; None without one."""
    if found is None:
        return None
    importance = found.importance
    return {
        "planned": found.search.points,
        "points": [
            {
                "point": point.number,
                "cell": point.cell,
                "levels": dict(point.levels),
                "state": point.state,
                "value": point.value,
                "seeds": point.seeds,
            }
            for point in found.points
        ],
        "ranked": [point.number for point in found.ranked],
        "leaders": [point.number for point in found.leaders],
        "importance": {
            "shares": dict(importance.shares),
            "beyond_chance": sorted(importance.beyond_chance),
            "best": importance.best,
            "points": importance.points,
            "uncertain": importance.uncertain,
        }
        if importance
        else None,
    }


def _sentences(report: ReportStudy, found: SearchResult) -> Iterator[str]:
    search = found.search
    pruned = sum(trial.pruned for trial in report.trials)
    done = sum(trial.done for trial in report.trials) - pruned
    how = {"random": "at random", "tpe": "by TPE, in the light of those before", "cmaes": "by CMA-ES"}[search.sampler]
    told = f"{plural(done, 'trial')} done" + (f", {pruned} pruned" if pruned else "")
    yield (
        f"{len(found.points)} of {plural(search.points, 'point')} {'was' if len(found.points) == 1 else 'were'} "
        f"chosen {how}; {told}. "
        "A point has the number of its first trial."
    )
    if pruned:
        yield (
            f"{plural(pruned, 'trial')} fell behind the others and {'was' if pruned == 1 else 'were'} ended early "
            f"({search.pruner}): such a trial is in no mean, and stands in the figures at the {_what(report)} it had."
        )
    if len(report.study.seeds) == 1:
        yield (
            "One seed for each point says little, and the best of many single trials owes part of its place to luck. "
            "Repeat the best points with seeds that the search did not use before you conclude anything from them."
        )


def _what(report: ReportStudy) -> str:
    return "accuracy" if is_share(report.study.metric) else metric_in_text(report.study.metric)


def _next(report: ReportStudy, found: SearchResult) -> dict[str, str] | None:
    """The command that repeats the best points; None while none has trained to its end."""
    best, name = min(_BEST, len(found.candidates)), report.study.name
    if not best:
        return None
    points = ", ".join(point.name for point in found.candidates[:best])
    tested = ", and tests the first against the others" if best > 1 else ""
    return {
        "command": f"cifarsweep create --from {name} --best {best} --seeds {_SEEDS}",
        "makes": f"Makes the study {best_points_name(name, best)} of {points}, with the same settings{tested}.",
    }


def _told(point: Point, found: SearchResult) -> str:
    """A point in a line."""
    keys = shown_keys(found.search.space)
    levels = ", ".join(f"{keys.get(key, key)} {level_text(value)}" for key, value in point.levels.items())
    return f"{_result_text(point, found)}; {levels}"


def _result_text(point: Point, found: SearchResult) -> str:
    assert point.value is not None
    ended = "" if point.state == "done" else f", {point.state}"
    return f"{point.name}: {value_text(point.value, found.metric)}{ended}"


def _mark(point: Point, found: SearchResult, scale: Scale, listed: Collection[int]) -> dict[str, Any]:
    assert point.value is not None
    up = scale.pixel(point.value)
    return {
        "number": point.number,
        "linked": point.number in listed,
        "text": _result_text(point, found),
        "cross": point.state in ("pruned", "fell out"),
        "leads": point in found.leaders,
        "best": bool(found.ranked) and point == found.ranked[0],
        "y": round(100 - up, 1),
        "share": round((100 - up if is_loss(found.metric) else up) / 100, 2),
    }


def _beyond(shown: Sequence[Point], found: SearchResult) -> str:
    """Say how many points lie beyond the worse end of the figures."""
    assert found.shown is not None
    low, high = found.shown
    count = sum(not low <= (point.value or 0.0) <= high for point in shown)
    if not count:
        return ""
    where, end = ("above", high) if is_loss(found.metric) else ("below", low)
    stand = "stands" if count == 1 else "stand"
    return f"{plural(count, 'point')} {where} {value_text(end, found.metric)} {stand} at that edge."


def _history(shown: Sequence[Point], found: SearchResult, numbers: Scale, scale: Scale) -> dict[str, Any]:
    """Every point by its number, and the line of the best so far."""
    path = ""
    for point in found.leaders:
        x, y = numbers.pixel(point.number), round(100 - scale.pixel(point.value or 0.0), 1)
        path += f"H{x}V{y}" if path else f"M{x} {y}"
    leader = found.leaders[-1] if found.leaders else None
    told = _told if len(found.search.space) <= _FEW_VALUES else _result_text
    return {
        "points": [(point.number, numbers.pixel(point.number)) for point in shown],
        "path": f"{path}H100" if path else "",
        "ticks": [{"at": numbers.pixel(tick), "text": f"#{tick}"} for tick in whole_ticks(numbers)],
        "ends": value_ticks(scale, found.metric),
        "told": f"The best so far is {told(leader, found)}." if leader else "No point has trained to its end yet.",
    }


def _importance_view(importance: Importance, keys: dict[str, str]) -> dict[str, Any]:
    caution = f"Of fewer than {FEW} points this is uncertain: it may change with the next ones."
    return {
        "rows": [
            {
                "key": keys[key],
                "title": key,
                "share": round(100 * share, 1),
                "text": f"{100 * share:.0f}\N{NARROW NO-BREAK SPACE}%",
                "by_chance": key not in importance.beyond_chance,
            }
            for key, share in importance.shares.items()
        ],
        "best": importance.best,
        "points": importance.points,
        "caution": caution if importance.uncertain else "",
    }


def _missing_importance(found: SearchResult) -> str:
    """Why there is no importance."""
    ended = sum(point.ranks and point.state != "open" for point in found.points)
    if len(found.search.space) < 2:
        return ""
    if ended < FEWEST:
        return f"Which parameters matter is told from {FEWEST} points on that trained to their end; there are {ended}."
    return "Too many points share the best result to tell which parameters matter."


def _lines(points: Sequence[Point], found: SearchResult, marks: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each point across all axes and its result, the worst first, so that the best lie on top."""
    space = found.search.space
    order = sorted(points, key=lambda point: marks[point.number]["share"])[-_MOST_LINES:]

    def path(point: Point) -> str:
        ups = [round(100 - place(each, point.levels[key]), 1) for key, each in space.items()]
        places = enumerate([*ups, marks[point.number]["y"]])
        return "M" + "L".join(f"{round(100 * nth / len(space), 1)} {up}" for nth, up in places)

    return [{"number": point.number, "path": path(point)} for point in order]


def _pair(found: SearchResult, keys: Sequence[str], points: Sequence[Point]) -> dict[str, Any] | None:
    """Two parameters against each other, at first the most important ones."""
    if len(keys) < 2:
        return None
    x, y = list(found.importance.shares)[:2] if found.importance else keys[:2]
    across, up = found.search.space[x], found.search.space[y]
    places = [
        (each.number, place(across, each.levels[x]), round(100 - place(up, each.levels[y]), 1)) for each in points
    ]
    return {"x": x, "y": y, "points": places}
