"""Verdicts and cells as plain values, for programs."""

from __future__ import annotations

from typing import Any

from cifarsweep.analysis.comparison import Comparison, Match
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult, cell_results
from cifarsweep.analysis.verdict import Verdict
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.promise import most_false, warnings
from cifarsweep.stats import Interval


def study_fields(report: ReportStudy) -> dict[str, Any]:
    """One study: its verdicts, and each cell's validation accuracy at the end of training with its costs."""
    return {
        "study": report.study.name,
        "question": report.study.question,
        "trials": len(report.trials),
        "done": sum(trial.done for trial in report.trials),
        "data": report.data_digest,
        "continued": [
            {"trial": trial.number, "changed": {name: list(values) for name, values in trial.changed.items()}}
            for trial in report.trials
            if trial.changed
        ],
        "plans": [list(plan) for plan in report.plans],
        "false_verdicts_at_most": most_false(report),
        "promise": " ".join(warnings(report)) or None,
        "verdicts": [_verdict(verdict) for verdict in verdicts(report)],
        "cells": [_cell(result) for result in cell_results(report)],
    }


def comparison_fields(found: Comparison) -> dict[str, Any]:
    """Two studies: the difference of each cell that both have, b minus a."""
    return {
        "a": {"study": found.a.study.name, "database": found.a.database},
        "b": {"study": found.b.study.name, "database": found.b.database},
        "cells": [_match(match) for match in found.matches],
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": verdict.hypothesis.claim,
        "kind": verdict.hypothesis.kind,
        "decision": verdict.decision,
        "estimate": verdict.estimate,
        "interval": _ends(verdict.interval),
        "method": "sign test" if verdict.signs else verdict.method,
        "effect": verdict.effect,
        "p": verdict.p,
        "corrected_p": verdict.corrected,
        "looks": verdict.looks,
        "level": verdict.level,
        "seeds": verdict.seeds,
        "more_seeds": verdict.more_seeds,
        "open_trials": verdict.open_trials,
        "preliminary": verdict.preliminary,
        "sentence": verdict.sentence,
        "warning": verdict.warning,
    }


def _cell(result: CellResult) -> dict[str, Any]:
    accuracy = result.accuracy
    return {
        "cell": result.cell.name,
        "levels": dict(result.cell.levels),
        "n": accuracy.n if accuracy else 0,
        "mean": accuracy.mean if accuracy else None,
        "interval": _ends(accuracy.interval) if accuracy else None,
        "min": accuracy.min if accuracy else None,
        "max": accuracy.max if accuracy else None,
        "diverged": result.diverged,
        "failed": result.failed,
        "seconds": result.seconds,
        "params": result.params,
        "flops_per_image": result.flops,
    }


def _match(match: Match) -> dict[str, Any]:
    estimate = match.estimate
    return {
        "a": match.a.cell.name,
        "b": match.b.cell.name,
        "difference": estimate.value if estimate else None,
        "interval": _ends(estimate.interval()) if estimate else None,
        "method": estimate.method if estimate else None,
        "seeds": estimate.n if estimate else 0,
        "corrected_p": match.corrected,
        "finding": match.finding,
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
