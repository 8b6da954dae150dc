"""A study in short: its line in the index, its JSON, its table for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cifarsweep.analysis.comparison import Comparison, Match
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult, best, state_counts
from cifarsweep.analysis.reuse import totals
from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.formatting import (
    keep_together,
    labelled,
    mean_text,
    metric_in_text,
    plural,
    shown_interval,
    trial_counts,
)
from cifarsweep.report.effect_fields import effect_fields
from cifarsweep.report.marks import forest_mark
from cifarsweep.report.notes import error_rate_bound, warnings
from cifarsweep.report.reported_runs import run_fields
from cifarsweep.report.reported_text import reported_fields
from cifarsweep.report.reuse_text import reuse_notes
from cifarsweep.report.search_section import search_fields
from cifarsweep.report.verdict_text import detail, sentence, sentence_and_warning, warning
from cifarsweep.spec.hypothesis import moment_of
from cifarsweep.spec.levels import levels_text
from cifarsweep.spec.metrics import TEST_ACCURACY, VAL_ACCURACY, is_loss
from cifarsweep.spec.types import TrialState
from cifarsweep.stats import Interval
from cifarsweep.stats.hits import NewImages

if TYPE_CHECKING:
    pass


@labelled
def index_row(analysis: StudyAnalysis) -> dict[str, Any]:
    """The line of a study in the index."""
    report, verdicts = analysis.report, analysis.verdicts
    top = best(analysis.results)
    decisions = Counter(verdict.decision for verdict in verdicts)
    counts = [f"{decisions[word]} {word}" for word in ("supported", "refuted", "undecided") if decisions[word]]
    return {
        "name": report.study.name,
        "question": report.study.question,
        "verdict": verdict_row(verdicts[0]) if verdicts else None,
        "decisions": f"{len(verdicts)} hypotheses: {', '.join(counts)}" if len(verdicts) > 1 else None,
        "lead": lead(report, analysis.results),
        "progress": {"done": state_counts(report)[TrialState.DONE], "total": len(report.trials)},
        "counts": counts_text(report),
        "best_cell": top.cell.name if top else None,
        "best_mean": mean_text(top.accuracy, top.metric) if top and top.accuracy else None,
        "best_of": metric_in_text(report.study.metric),
        "best_n": plural(top.accuracy.n, "seed") if top and top.accuracy else None,
    }


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """A hypothesis with its verdict, as variables of a template."""
    return {
        "decision": verdict.decision,
        "claim": keep_together(verdict.hypothesis.claim.rstrip(". ")),
        "detail": keep_together(detail(verdict)),
        "warning": keep_together(warning(verdict)),
        "forest": forest_mark(verdict),
    }


def counts_text(report: ReportStudy) -> str:
    """Count all trials by state in words."""
    counts = trial_counts(state_counts(report), sum(trial.pruned for trial in report.trials))
    return f"{plural(len(report.trials), 'trial')}: {counts}" if report.trials else counts


@labelled
def lead(report: ReportStudy, results: Sequence[CellResult]) -> str:
    """Name the cell with the best mean, and how far the study is."""
    top = best(results)
    if top is None or top.accuracy is None:
        return _no_result(report)
    mean = f"{mean_text(top.accuracy, top.metric)} (n = {top.accuracy.n})"
    sentence = f"{_best(report, results, top.cell.name, mean)}; {_progress(report)}."
    if top.accuracy.n == 1:
        return f"{sentence} That is one seed, and one seed decides nothing: another one may say the opposite."
    return sentence


def _no_result(report: ReportStudy) -> str:
    counts = counts_text(report)
    if not state_counts(report)[TrialState.DONE]:
        return f"No trial is done yet ({counts}), so nothing is found so far."
    rename = "; import it again with --rename TAG=" + VAL_ACCURACY if report.study.imported else ""
    return f"No trial that is done has a finite {report.study.metric} ({counts}), so nothing is found so far{rename}."


def _best(report: ReportStudy, results: Sequence[CellResult], cell: str, mean: str) -> str:
    metric = report.study.metric
    accuracy, best_of = metric_in_text(metric), "lowest" if is_loss(metric) else "highest"
    if report.study.search is not None:
        points = len({trial.cell for trial in report.trials})
        top = next(result for result in results if result.cell.name == cell)
        named = f"#{min(trial.number for trial in top.trials)} ({levels_text(top.cell.levels)})"
        return f"Of {plural(points, 'point')} that were tried, {named} has the {best_of} {accuracy}: {mean}"
    if len(results) == 1:
        return f"The only cell {'has' if is_loss(metric) else 'reaches'} a {accuracy} of {mean}"
    known = sum(result.accuracy is not None for result in results)
    of = plural(len(results), "cell") if known == len(results) else f"the {known} of {len(results)} cells with a result"
    return f"Of {of}, {cell} has the {best_of} mean {accuracy}: {mean}"


def _progress(report: ReportStudy) -> str:
    total, counts = len(report.trials), state_counts(report)
    text = f"{counts[TrialState.DONE]} of {plural(total, 'trial')} {'is' if total == 1 else 'are'} done"
    if pruned := sum(trial.pruned for trial in report.trials):
        text += f", {pruned} of them pruned"
    left = any(counts[state] for state in (TrialState.QUEUED, TrialState.LEASED, TrialState.PAUSED))
    return f"{text}, so this is preliminary" if left else text


@labelled
def verdict_lines(analysis: StudyAnalysis) -> list[str]:
    """A sentence for each hypothesis with its verdict, warnings on the rate of false verdicts, what was taken over."""
    told = [sentence_and_warning(verdict) for verdict in analysis.verdicts]
    return [*told, *warnings(analysis.report), *reuse_notes(analysis.report)]


def failures(result: CellResult) -> list[str]:
    """The trials of a cell that fell out and that failed, counted in words."""
    counts = ((result.fell_out.count, "fell out"), (result.failed, "failed"))
    return [f"{count} {what}" for count, what in counts if count]


@labelled
def study_fields(analysis: StudyAnalysis) -> dict[str, Any]:
    """A study as plain values: its verdicts, and the means of its metric and costs of each cell."""
    report = analysis.report
    return {
        "study": report.study.name,
        "question": report.study.question,
        "metric": report.study.metric,
        "program": report.study.program.sha256 if report.study.program else None,
        "trials": len(report.trials),
        "done": sum(trial.done for trial in report.trials),
        "data": report.data_digest,
        "continued": [
            {"trial": trial.number, "changed": {name: list(values) for name, values in trial.changed.items()}}
            for trial in report.trials
            if trial.changed
        ],
        "cost": _cost_fields(report),
        "reused": [
            {"trial": trial.number, "source": trial.reuse.sources[0].name, "steps": trial.reuse.steps}
            for trial in report.trials
            if trial.reuse
        ],
        "plans": [list(plan) for plan in report.plans],
        "false_verdicts_at_most": error_rate_bound(report),
        "promise": " ".join(warnings(report)) or None,
        "verdicts": [_verdict_fields(verdict) for verdict in analysis.verdicts],
        "reported": [reported_fields(held) for held in analysis.reported],
        "reported_runs": run_fields(analysis.runs),
        "cells": [_cell_fields(result) for result in analysis.results],
        "effects": effect_fields(analysis.effects),
        "notes": [
            {"note": one.note, "trial": one.trial, "written_at": one.written_at.isoformat(), "text": one.text}
            for one in report.own_notes
        ],
        "search": search_fields(analysis.search),
    }


def _cost_fields(report: ReportStudy) -> dict[str, dict[str, float]]:
    """What the trials that are done took together, and what of it they took over: steps, seconds, FLOPs, joules."""
    found = totals(report)
    return {"trained": dict(found.trained), "reused": dict(found.reused)}


def comparison_fields(comparison: Comparison) -> dict[str, Any]:
    """Two studies as plain values: the difference of each cell that both have, b minus a."""
    return {
        "a": {"study": comparison.a.study.name, "database": comparison.a.database},
        "b": {"study": comparison.b.study.name, "database": comparison.b.database},
        "cells": [_match_fields(match) for match in comparison.matches],
        "only_a": list(comparison.only_a),
        "only_b": list(comparison.only_b),
    }


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": verdict.hypothesis.claim,
        "kind": verdict.hypothesis.kind,
        "at": at.model_dump() if (at := moment_of(verdict.hypothesis)) else None,
        "decision": verdict.decision,
        "estimate": verdict.estimate,
        "interval": _ends(verdict.interval),
        "decisive_interval": _ends(verdict.decisive),
        "new_images": _new_images_fields(verdict.new_images),
        "method": verdict.method,
        "effect": verdict.effect,
        "p": verdict.p,
        "corrected_p": verdict.corrected,
        "looks": verdict.looks,
        "level": verdict.level,
        "seeds": verdict.seeds,
        "more_seeds": verdict.more_seeds,
        "more_seeds_range": list(verdict.more_seeds_range) if verdict.more_seeds_range else None,
        "open_trials": verdict.open_trials,
        "preliminary": verdict.preliminary,
        "sentence": sentence(verdict),
        "warning": warning(verdict),
    }


def _cell_fields(result: CellResult) -> dict[str, Any]:
    accuracy = result.accuracy
    return {
        "cell": result.cell.name,
        "levels": dict(result.cell.levels),
        "n": accuracy.n if accuracy else 0,
        "mean": accuracy.mean if accuracy else None,
        "interval": _ends(shown_interval(accuracy, result.metric)) if accuracy else None,
        "min": accuracy.min if accuracy else None,
        "max": accuracy.max if accuracy else None,
        "fell_out": result.fell_out.count,
        "fell_out_of": result.fell_out.of,
        "fell_out_at_most": result.fell_out.at_most if result.fell_out.of else None,
        "test": {
            "n": result.test.n,
            "mean": result.test.mean,
            "interval": _ends(shown_interval(result.test, TEST_ACCURACY)),
        }
        if result.test
        else None,
        "diverged": result.diverged,
        "failed": result.failed,
        "seconds": result.seconds,
        "params": result.params,
        "flops_per_image": result.flops,
    }


def _match_fields(match: Match) -> dict[str, Any]:
    estimate = match.estimate
    return {
        "a": match.a.cell.name,
        "b": match.b.cell.name,
        "difference": estimate.value if estimate else None,
        "interval": _ends(match.interval),
        "new_images": _new_images_fields(match.new_images),
        "method": estimate.method if estimate else None,
        "seeds": estimate.n if estimate else 0,
        "corrected_p": match.corrected,
        "finding": match.finding,
        "copies": match.copies,
    }


def _new_images_fields(found: NewImages | None) -> dict[str, Any] | None:
    """The interval for new images too, and half of it with seeds without limit."""
    return {"interval": _ends(found.interval), "limit": found.limit, "wider": found.wider} if found else None


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
