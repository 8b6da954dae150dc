"""Tables to hand in of what factors did: means of their levels, and how much effects depend on one another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cifarsweep.analysis.effect_records import Effects, Interaction, MarginalMean
from cifarsweep.formatting import metric_label
from cifarsweep.report.effects_text import factor_names, noise_text
from cifarsweep.report.table_cells import Chance, Count, Entry, Number, PaperTable, raw_ends, rounded, table_of
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import is_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cifarsweep.spec.study import Study


def effects_table(study: Study, found: Effects) -> PaperTable:
    """The mean of each level of a factor over the others."""
    names, unit = factor_names(study), " (%)" if is_share(found.metric) else ""
    levels = [(main, each) for main in found.factors for each in main.levels]
    columns: dict[str, list[Entry]] = {
        "Factor": [names[main.factor] for main, _ in levels],
        "Level": [level_text(each.level) for _, each in levels],
        f"{metric_label(found.metric)}{unit}": [_marginal(each.found, found.metric) for _, each in levels],
        "Cells": [Count(each.found.cells) for _, each in levels],
        "Runs": [Count(each.found.seeds) for _, each in levels],
    }
    caption = (
        f"{study.question.rstrip()} {metric_label(found.metric)} of each level of a factor, averaged over the other "
        f"factors, with half of its 95 % interval {noise_text(found)}."
    )
    raw = [
        {
            "factor": main.factor,
            "level": each.level,
            "metric": found.metric,
            "mean": each.found.mean,
            **raw_ends(each.found.interval),
            "cells": each.found.cells,
            "runs": each.found.seeds,
        }
        for main, each in levels
    ]
    return table_of(study.name, "effects", caption, columns, raw)


def _marginal(found: MarginalMean, metric: str) -> Number:
    """A mean over others; an interval that ends where a share ends is not even, and stands in the CSV alone."""
    ends = found.interval
    even = ends is not None and math.isclose(ends.high - found.mean, found.mean - ends.low, rel_tol=1e-6)
    return rounded(found.mean, ends.half if ends and even else None, 100.0 if is_share(metric) else 1.0)


def interactions_table(study: Study, pairs: Sequence[Interaction]) -> PaperTable:
    """How much the effect of a factor depends on another one, for each pair with a change."""
    names, unit = factor_names(study), " (points)" if is_share(study.metric) else ""
    changes = [(pair, pair.change) for pair in pairs if pair.change]
    columns: dict[str, list[Entry]] = {
        "Factors": [f"{names[pair.rows]}, {names[pair.columns]}" for pair, _ in changes],
        "Difference of": [
            f"{names[pair.rows]} {level_text(change.high)} and {level_text(change.low)}" for pair, change in changes
        ],
        "Changes between": [
            f"{names[pair.columns]} {level_text(change.there)} and {level_text(change.here)}"
            for pair, change in changes
        ],
        f"By{unit}": [rounded(change.size, None, 100.0 if unit else 1.0) for _, change in changes],
        "p": [None if pair.corrected is None else Chance(pair.corrected) for pair, _ in changes],
    }
    caption = (
        f"{study.question.rstrip()} For each pair of factors, how much the difference between two levels of the first "
        "changes most between two levels of the second; p of the test of all such changes, corrected for all pairs."
    )
    raw = [
        {
            "rows": pair.rows,
            "columns": pair.columns,
            "metric": study.metric,
            **{key: getattr(change, key) for key in ("high", "low", "there", "here")},
            "difference_there": change.difference_there,
            "difference_here": change.difference_here,
            "p": pair.test.p if pair.test else None,
            "corrected_p": pair.corrected,
        }
        for pair, change in changes
    ]
    return table_of(study.name, "interactions", caption, columns, raw)
