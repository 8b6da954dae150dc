"""Effects of factors as plain values, for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cifarsweep.analysis.effect_records import Effects, Interaction, MainEffect, MarginalMean
from cifarsweep.stats import Interval


def effect_fields(found: Effects | None) -> dict[str, Any] | None:
    """In units of the metric; None for a study that crosses no factors."""
    if found is None:
        return None
    return {
        "metric": found.metric,
        "preliminary": found.preliminary,
        "open_trials": found.open_trials,
        "level": found.level,
        "comparisons": found.comparisons,
        "seeds": list(found.seeds),
        "sd": found.spread.sd if found.spread else None,
        "df": found.spread.df if found.spread else None,
        "spreads_alike_p": found.spread.alike if found.spread else None,
        "own_spreads": found.spread is not None and found.spread.unlike,
        "noisy_cell": asdict(found.noisy) if found.noisy else None,
        "untrained": list(found.untrained),
        "not_averaged": list(found.apart),
        "factors": [_main_fields(main) for main in found.factors],
        "interactions": [_interaction_fields(pair) for pair in found.interactions],
    }


def _main_fields(main: MainEffect) -> dict[str, Any]:
    furthest = main.furthest
    return {
        "factor": main.factor,
        "levels": [{"level": each.level, **_mean_fields(each.found)} for each in main.levels],
        "furthest": {
            "high": furthest.high,
            "low": furthest.low,
            "difference": furthest.value,
            "interval": _ends(furthest.interval),
            "larger_than_noise": furthest.larger,
        },
        "left_out": main.left_out,
    }


def _interaction_fields(pair: Interaction) -> dict[str, Any]:
    change = pair.change
    return {
        "factors": [pair.rows, pair.columns],
        "means": [
            {pair.rows: row, pair.columns: column, **_mean_fields(found)}
            for row, means in zip(pair.row_levels, pair.means, strict=True)
            for column, found in zip(pair.column_levels, means, strict=True)
            if found is not None
        ],
        "left_out": pair.left_out,
        "alone": dict(pair.alone) or None,
        "largest_change": {
            "high": change.high,
            "low": change.low,
            "at": [change.there, change.here],
            "differences": [change.difference_there, change.difference_here],
        }
        if change
        else None,
        "f": pair.test.f if pair.test else None,
        "df": pair.test.df if pair.test else None,
        "error_df": pair.test.error_df if pair.test else None,
        "p": pair.test.p if pair.test else None,
        "corrected_p": pair.corrected,
        "larger_than_noise": pair.larger,
    }


def _mean_fields(found: MarginalMean) -> dict[str, Any]:
    return {"mean": found.mean, "interval": _ends(found.interval), "cells": found.cells, "seeds": found.seeds}


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
