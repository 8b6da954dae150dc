"""The data of the figures, ready for JSON: curves, costs, gaps and classes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cifarsweep.analysis.outcomes import compared_runs
from cifarsweep.analysis.records import ClassCounts, ReportStudy, ReportTrial, Series
from cifarsweep.analysis.results import DEVICE_TIME, CellResult, costs, final_summary
from cifarsweep.formatting import metric_label
from cifarsweep.spec.metrics import (
    ELAPSED,
    ENERGY,
    EPOCH,
    FLOPS,
    IMAGES,
    LEARNING_RATE,
    RESOURCE_LABELS,
    TRAIN_ACCURACY,
    TRAIN_LOSS,
    UNITS,
    VAL_ACCURACY,
    VAL_LOSS,
    bounds,
    is_loss,
    is_share,
)
from cifarsweep.stats import Band, Floats, band

#: x axes beside the steps; a page offers those that were recorded.
AXES = (EPOCH, IMAGES, ELAPSED, FLOPS, ENERGY)
#: Points of a curve: a plot is about this many pixels wide. Many curves share the points of a page.
POINTS, FEWEST_POINTS, POINTS_OF_A_PAGE = 500, 120, 150_000
#: Points of an axis: axes rise almost evenly with the steps.
KNOTS = 64
#: Classes whose accuracies are drawn, the hardest first.
CLASSES_SHOWN = 20
#: Entries of all confusion matrices of a page; the cells with the highest accuracy get theirs first.
_MOST_ENTRIES = 300_000
#: Cells of a Pareto front that are named below the figure.
_NAMED = 12
#: Labels of costs that are not metrics.
_COST_LABELS = {DEVICE_TIME: "Device time", "params": "Parameters", "flops_per_image": "FLOPs of one image"}

_ORDER = (VAL_ACCURACY, VAL_LOSS, TRAIN_ACCURACY, TRAIN_LOSS, LEARNING_RATE)
_DTYPES = {"i2": np.int16, "i4": np.int32, "f4": np.float32, "f8": np.float64}
Packed = dict[str, str]


def curve_payload(report: ReportStudy) -> dict[str, Any]:
    """The data of the main figure: metrics with a band for each cell, axes, and a clock for each cell.

    A clock gives the values of an axis at some steps, as means over the seeds. nan marks a gap.
    """
    numbers = _trial_numbers(report)
    names = {name for _, name in report.series}
    metrics = sorted(names - set(AXES), key=lambda name: (name != report.study.metric, *metric_rank(name)))
    axes = [axis for axis in AXES if axis in names]
    bands = {name: [_cell_band(report.series, group, name) for group in numbers] for name in metrics}
    count = sum(curve is not None for curves in bands.values() for curve in curves)
    points = max(FEWEST_POINTS, min(POINTS, POINTS_OF_A_PAGE // max(count, 1)))
    return {
        "metrics": [_metric(name, bands[name], points) for name in metrics],
        "axes": [{"name": axis, "label": metric_label(axis)} for axis in axes],
        "clocks": [_clock(report.series, group, axes) for group in numbers],
    }


def _metric(name: str, curves: Sequence[Band | None], points: int) -> dict[str, Any]:
    return {
        "name": name,
        "label": metric_label(name),
        "unit": UNITS.get(name, ("", 1.0))[0],
        "share": is_share(name),
        "resource": name in RESOURCE_LABELS,
        "curves": [_pack_band(_in_unit(thinned(curve, points), name)) if curve else None for curve in curves],
    }


def _trial_numbers(report: ReportStudy) -> list[list[int]]:
    """The numbers of the runs that stand for each cell, in the order of the study's cells."""
    trials: dict[str, list[ReportTrial]] = {cell.name: [] for cell in report.study.cells}
    for trial in report.trials:
        trials.setdefault(trial.cell, []).append(trial)
    return [[trial.number for trial in compared_runs(trials[cell.name])] for cell in report.study.cells]


def metric_rank(name: str) -> tuple[bool, int, str]:
    """The place of a metric in a list: accuracies and losses, then others by name, then the use of the machine."""
    order = list(RESOURCE_LABELS) if name in RESOURCE_LABELS else _ORDER
    return (name in RESOURCE_LABELS, order.index(name) if name in order else len(order), name)


def _cell_band(series: Mapping[tuple[int, str], Series], numbers: Sequence[int], metric: str) -> Band | None:
    curves = [series[number, metric] for number in numbers if (number, metric) in series]
    mean = band(curves)
    return mean if mean.grid.size else None


def _clock(series: Mapping[tuple[int, str], Series], numbers: Sequence[int], axes: Sequence[str]) -> dict[str, Any]:
    """The mean of each axis over the seeds, at a few steps from the first to the last."""
    clock: dict[str, Any] = {}
    for axis in axes:
        mean = _cell_band(series, numbers, axis)
        if mean is not None:
            # The mean would step back where a slow seed has not come as far as the others.
            at = np.maximum.accumulate(mean.mean)
            clock[axis] = packed_clock(mean.grid, at)
    return clock


def packed_clock(steps: npt.NDArray[Any], at: Floats, most: int = KNOTS) -> dict[str, Packed]:
    """An axis at some steps, between which it is drawn as straight lines."""
    knots = _knots(steps, at, most)
    return {"steps": packed(steps[knots]), "at": packed(at[knots])}


def _knots(steps: npt.NDArray[Any], at: Floats, most: int) -> npt.NDArray[np.int64]:
    """Indices of both ends if it rises evenly, else of `most` points."""
    ends = [0, steps.size - 1]
    even = np.interp(steps, steps[ends], at[ends])
    if np.abs(even - at).max() <= 1e-6 * (at[-1] - at[0]):
        return np.unique(ends)
    return np.unique(np.linspace(0, steps.size - 1, most).round().astype(np.int64))


def thinned(curve: Band, points: int) -> Band:
    """Thin a band to about `points` by MinMaxLTTB (https://arxiv.org/abs/2305.00332).

    The extremes of the mean and of both edges are candidates, so their spikes stay visible.
    """
    if curve.grid.size <= points:
        return curve
    edges = [edge for edge in (curve.low, curve.high) if np.isfinite(edge).any()]
    shares = [points // 2, *(points // 4 for _ in edges)] if edges else [points]
    lines = [curve.mean, *(np.where(np.isfinite(edge), edge, curve.mean) for edge in edges)]
    keep = np.unique(np.concatenate([_kept(curve.grid, line, n) for line, n in zip(lines, shares, strict=True)]))
    return Band(curve.grid[keep], curve.mean[keep], curve.low[keep], curve.high[keep], curve.n[keep])


def kept_points(x: npt.NDArray[Any], y: Floats, points: int) -> npt.NDArray[np.int64]:
    """Indices of about `points` points that keep the shape of a curve; all of them if it has no more."""
    return _kept(x, y, points) if x.size > points else np.arange(x.size)


def _kept(x: npt.NDArray[Any], y: Floats, points: int) -> npt.NDArray[np.int64]:
    # A large import, which only pages need.
    from tsdownsample import MinMaxLTTBDownsampler

    sampler = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]
    return np.asarray(sampler.downsample(x, y, n_out=points), np.int64)


def _in_unit(curve: Band, metric: str) -> Band:
    unit = UNITS.get(metric, ("", 1.0))[1]
    # Student's t knows no bounds.
    low, high = (edge.clip(*bounds(metric)) for edge in (curve.low, curve.high))
    return Band(curve.grid, curve.mean / unit, low / unit, high / unit, curve.n)


def _pack_band(curve: Band) -> dict[str, Any]:
    """Pack a band: without edges if it has one seed all along, `n` as a number if it is constant."""
    spread = np.isfinite(curve.low).any()
    same = (curve.n == curve.n[0]).all()
    return {
        "steps": packed(curve.grid),
        "mean": packed(curve.mean),
        "low": packed(curve.low) if spread else None,
        "high": packed(curve.high) if spread else None,
        "n": int(curve.n[0]) if same else packed(curve.n, "i2"),
    }


def packed(values: npt.ArrayLike, dtype: str | None = None) -> Packed:
    """Pack an array as plotly's `{dtype, bdata}`: base64 of its little-endian bytes.

    Whole numbers of 32 bits stay integers, others become float32, whose 7 digits are more than a screen shows; one that
    is too large for it, as losses are that explode, becomes infinite, which is not drawn.
    """
    array = np.asarray(values)
    chosen = dtype or ("i4" if _is_int32(array) else "f4")
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(array, np.dtype(_DTYPES[chosen]).newbyteorder("<"))
    return {"dtype": chosen, "bdata": base64.b64encode(data.tobytes()).decode()}


def unpacked(field: Packed) -> npt.NDArray[Any]:
    """Undo `packed`."""
    return np.frombuffer(base64.b64decode(field["bdata"]), np.dtype(_DTYPES[field["dtype"]]).newbyteorder("<"))


def _is_int32(array: npt.NDArray[Any]) -> bool:
    if not array.size or not np.isfinite(array).all():
        return False
    return bool((array == np.round(array)).all() and np.abs(array).max() < 2**31)


def cost_payload(results: Sequence[CellResult]) -> list[dict[str, Any]]:
    """The costs in which cells differ: the value of each cell (None if unknown) and the Pareto front."""
    return [
        {
            "name": cost.name,
            "label": _COST_LABELS.get(cost.name) or metric_label(cost.name),
            "values": list(cost.values),
            "front": list(cost.front),
            "told": _front_text([results[index] for index in cost.front]) + _left_out(results, cost.values),
        }
        for cost in costs(results)
    ]


def _front_text(front: Sequence[CellResult]) -> str:
    names = [result.cell.name for result in front]
    if not names:
        return "No cell trained, so that there is no Pareto front."
    if len(names) == 1:
        top = "lowest" if is_loss(front[0].metric) else "highest"
        return f"The Pareto front is one cell: {names[0]} has the {top} mean, and no other cell costs less."
    shown = "; ".join(f"{number} {name}" for number, name in enumerate(names[:_NAMED], start=1))
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"The Pareto front, cheapest first: {shown}{more}."


def _left_out(results: Sequence[CellResult], costs: Sequence[float | None]) -> str:
    pairs = list(zip(results, costs, strict=True))
    early = [one.cell.name for one, cost in pairs if cost is None and one.diverged and not one.trained]
    untrained = [one.cell.name for one, cost in pairs if cost is not None and one.fell_out.every]
    reasons = {"whose trials all diverged and ended early": early, "of which no trial trained": untrained}
    return "".join(
        f" Left out: {f'{len(names)} cells' if len(names) > _NAMED else '; '.join(names)}, {why}."
        for why, names in reasons.items()
        if names
    )


def gap_payload(results: Sequence[CellResult]) -> list[list[float] | None] | None:
    """The mean final accuracies of each cell on training and validation images; None if no cell has both."""
    pairs = []
    for result in results:
        both = final_summary(result.trials, TRAIN_ACCURACY), final_summary(result.trials, VAL_ACCURACY)
        pairs.append([accuracy.mean for accuracy in both if accuracy] if all(both) else None)
    return pairs if any(pairs) else None


def class_payload(report: ReportStudy, results: Sequence[CellResult]) -> dict[str, Any] | None:
    """The data of the figures of classes; None if no trial recorded any.

    Cells on another data set than the first have other classes and are left out.
    """
    known = [result.cell.name for result in results if result.cell.name in report.confusion]
    if not known:
        return None
    dataset = report.confusion[known[0]].dataset
    counts = {name: report.confusion[name] for name in known if report.confusion[name].dataset == dataset}
    size = max(len(cell_counts.counts) for cell_counts in counts.values())
    with_matrix = set(_highest(results, counts, _MOST_ENTRIES // size**2))
    names = report.class_names.get(dataset, ())
    return {
        "names": [names[index] if index < len(names) else f"class {index}" for index in range(size)],
        "cells": [_class_cell(counts.get(result.cell.name), result, with_matrix, size) for result in results],
    }


def _highest(results: Sequence[CellResult], counts: Mapping[str, ClassCounts], most: int) -> list[str]:
    """The names of the cells with the highest mean accuracy, at least one."""
    ranks = {result.cell.name: result.rank for result in results}
    return sorted(counts, key=ranks.__getitem__)[: max(most, 1)]


def _class_cell(
    cell: ClassCounts | None, result: CellResult, with_matrix: set[str], size: int
) -> dict[str, Any] | None:
    if cell is None:
        return None
    recall = np.pad(cell.recall, ((0, 0), (0, size - cell.recall.shape[1])), constant_values=np.nan)
    curve = band([(np.arange(size), np.nan_to_num(seed)) for seed in recall])
    mean = np.where(np.isnan(recall).all(axis=0), np.nan, curve.mean)
    counts = np.pad(cell.counts, (0, size - len(cell.counts)))
    return {
        "seeds": len(recall),
        "mean": packed(mean, "f4"),
        "low": packed(curve.low.clip(0, 1), "f4") if len(recall) > 1 else None,
        "high": packed(curve.high.clip(0, 1), "f4") if len(recall) > 1 else None,
        "counts": packed(counts.ravel(), "i4") if result.cell.name in with_matrix else None,
    }
