"""What the figures beside the curves draw: accuracy against cost, and the gap between training and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from cifarsweep.analysis.records import ReportTrial
from cifarsweep.analysis.results import CellResult, final_summary
from cifarsweep.formatting import metric_label, visible
from cifarsweep.spec.types import ELAPSED, ENERGY, FLOPS, TRAIN_ACCURACY, VAL_ACCURACY

#: Cells of a Pareto front that are named below the figure.
_NAMED = 12


def _seconds(result: CellResult) -> float | None:
    times = [trial.elapsed_s for trial in _trained(result) if trial.elapsed_s is not None]
    return fmean(times) if times else None


def _mean(result: CellResult, metric: str) -> float | None:
    found = final_summary(_trained(result), metric)
    return found.mean if found else None


def _trained(result: CellResult) -> list[ReportTrial]:
    return [trial for trial in result.trials if trial.trained]


#: What a result may cost, by name: its label, and how much of it a cell took.
_COSTS: dict[str, tuple[str, Callable[[CellResult], float | None]]] = {
    ELAPSED: (metric_label(ELAPSED), _seconds),
    ENERGY: (metric_label(ENERGY), lambda result: _mean(result, ENERGY)),
    FLOPS: (metric_label(FLOPS), lambda result: _mean(result, FLOPS)),
    "params": ("Parameters", lambda result: result.params),
    "flops_per_image": ("FLOPs of one image", lambda result: result.flops),
}


def cost_payload(results: Sequence[CellResult]) -> list[dict[str, Any]]:
    """The costs in which cells differ: how much each cell took (None where unknown), and who is on the Pareto front."""
    found = []
    for name, (label, of) in _COSTS.items():
        values = [of(result) if result.accuracy else None for result in results]
        if len({value for value in values if value is not None}) > 1:
            front = pareto_front(results, values)
            told = _told([results[place].cell.name for place in front]) + _left_out(results, values)
            found.append({"name": name, "label": label, "values": values, "front": front, "told": told})
    return found


def _told(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"The Pareto front is one cell: {visible(names[0])} has the highest mean, and no other cell costs less."
    shown = "; ".join(f"{place} {visible(name)}" for place, name in enumerate(names[:_NAMED], start=1))
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"The Pareto front, cheapest first: {shown}{more}."


def _left_out(results: Sequence[CellResult], costs: Sequence[float | None]) -> str:
    unknown = (result for result, cost in zip(results, costs, strict=True) if cost is None)
    names = [visible(result.cell.name) for result in unknown if result.diverged and not _trained(result)]
    if not names:
        return ""
    which = f"{len(names)} cells" if len(names) > _NAMED else "; ".join(names)
    return f" Left out: {which}, whose trials all diverged and ended early."


def pareto_front(results: Sequence[CellResult], costs: Sequence[float | None]) -> list[int]:
    """The places of the cells that no other one beats in mean accuracy at the same cost or less, cheapest first."""
    front: list[int] = []
    points = [
        (cost, -result.accuracy.mean, place)
        for place, (result, cost) in enumerate(zip(results, costs, strict=True))
        if cost is not None and result.accuracy is not None
    ]
    least = float("inf")
    for _, error, place in sorted(points):
        if error < least:
            front.append(place)
            least = error
    return front


def gap_payload(results: Sequence[CellResult]) -> list[list[float] | None] | None:
    """Of each cell the mean accuracy at the end on training and on validation images; None where none has both."""
    pairs = []
    for result in results:
        both = final_summary(result.trials, TRAIN_ACCURACY), final_summary(result.trials, VAL_ACCURACY)
        pairs.append([each.mean for each in both if each] if all(both) else None)
    return pairs if any(pairs) else None
