"""Tables of a study to hand in: results, verdicts and main effects, as plain cells for LaTeX, Markdown and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.formatting import labelled, metric_in_text, metric_label, shown_interval
from cifarsweep.report.effect_tables import effects_table, interactions_table
from cifarsweep.report.table_cells import (
    Chance,
    Count,
    Ends,
    Entry,
    Number,
    PaperTable,
    decimals_for,
    places_for,
    raw_ends,
    rounded,
    table_of,
)
from cifarsweep.report.verdict_text import sentence_and_warning
from cifarsweep.spec.metrics import TEST_ACCURACY, is_share

if TYPE_CHECKING:
    from cifarsweep.analysis.results import CellResult
    from cifarsweep.analysis.verdicts import Verdict
    from cifarsweep.stats import Summary

_SECONDS_DIGITS = 3


@labelled
def paper_tables(analysis: StudyAnalysis) -> list[PaperTable]:
    """The tables of a study: results always, verdicts where it has hypotheses, effects where it crosses factors."""
    tables = [_results(analysis)]
    if analysis.verdicts:
        tables.append(_verdicts(analysis))
    if analysis.effects:
        tables.append(effects_table(analysis.study, analysis.effects))
        if pairs := [pair for pair in analysis.effects.interactions if pair.change]:
            tables.append(interactions_table(analysis.study, pairs))
    return tables


def _results(analysis: StudyAnalysis) -> PaperTable:
    results, study = analysis.results, analysis.study
    metric, unit = study.metric, " (%)" if is_share(study.metric) else ""
    columns: dict[str, list[Entry]] = {
        "Cell": [result.cell.name for result in results],
        f"{metric_label(metric)}{unit}": [_mean(result.accuracy, metric) for result in results],
        "On the test set (%)": [_mean(result.test, TEST_ACCURACY) for result in results],
        "n": [Count(result.accuracy.n if result.accuracy else 0) for result in results],
        f"Range{unit}": [_range(result.accuracy, metric) for result in results],
        "Time (s)": [_significant(result.seconds, _SECONDS_DIGITS) for result in results],
        "Fell out": [Count(result.fell_out.count) for result in results],
        "Failed": [Count(result.failed) for result in results],
        "Parameters": [None if result.params is None else Count(result.params) for result in results],
        "FLOPs": [None if result.flops is None else Count(result.flops) for result in results],
    }
    left_out = {name for name, entries in columns.items() if not _tells(entries)} - {"Cell", "n"}
    # Costs that do not differ are no result. Where every mean has its interval, the range of the seeds is in the CSV.
    left_out |= {name for name in ("Parameters", "FLOPs") if len(set(columns[name])) == 1}
    if all(result.accuracy is None or shown_interval(result.accuracy, metric) for result in results):
        left_out.add(f"Range{unit}")
    told = {name: entries for name, entries in columns.items() if name not in left_out}
    caption = (
        f"{study.question.rstrip()} {metric_label(metric)} at the end of training: mean over n seeds with half of its "
        f"95 % interval{'' if f'Range{unit}' in left_out else ', and the range of the seeds'}; mean training time."
    )
    return table_of(study.name, "results", caption, told, [_raw_result(result) for result in results])


def _tells(entries: Sequence[Entry]) -> bool:
    """Whether a column has anything to say: a number, or a count above zero."""
    return any(entry is not None and entry != Count(0) for entry in entries)


def _mean(summary: Summary | None, metric: str) -> Number | None:
    if summary is None:
        return None
    interval = shown_interval(summary, metric)
    return rounded(summary.mean, interval.half if interval else None, 100.0 if is_share(metric) else 1.0)


def _range(summary: Summary | None, metric: str) -> Ends | None:
    if summary is None or summary.n == 1:
        return None
    interval, scale = shown_interval(summary, metric), 100.0 if is_share(metric) else 1.0
    decimals = decimals_for(summary.mean, interval.half if interval else None, scale)
    return Ends(*(Number(scale * end, decimals) for end in (summary.min, summary.max)))


def _significant(value: float | None, digits: int) -> Number | None:
    return None if value is None else Number(value, places_for(value, digits))


def _raw_result(result: CellResult) -> dict[str, object]:
    accuracy, test = result.accuracy, result.test
    interval = shown_interval(accuracy, result.metric) if accuracy else None
    tested = shown_interval(test, TEST_ACCURACY) if test else None
    return {
        "cell": result.cell.name,
        **{f"level {key}": level for key, level in result.cell.levels.items()},
        "metric": result.metric,
        "mean": accuracy.mean if accuracy else None,
        **raw_ends(interval),
        "sd": accuracy.sd if accuracy else None,
        "n": accuracy.n if accuracy else 0,
        "min": accuracy.min if accuracy else None,
        "max": accuracy.max if accuracy else None,
        "test_mean": test.mean if test else None,
        **raw_ends(tested, "test_"),
        "seconds": result.seconds,
        "fell_out": result.fell_out.count,
        "failed": result.failed,
        "params": result.params,
        "flops_per_image": result.flops,
    }


def _verdicts(analysis: StudyAnalysis) -> PaperTable:
    found, units = analysis.verdicts, list(map(_unit, analysis.verdicts))
    one = f" ({units[0]})" if len(set(units)) == 1 else ""
    columns: dict[str, list[Entry]] = {
        "Hypothesis": [verdict.hypothesis.claim.rstrip(". ") for verdict in found],
        "Verdict": [str(verdict.decision) for verdict in found],
        f"Estimate{one}": [_estimate(verdict) for verdict in found],
        "95 % interval": [_interval(verdict) for verdict in found],
        **({} if one else {"Unit": list[Entry](units)}),
        "p": [_chance(verdict) for verdict in found],
        "Seeds": [Count(verdict.seeds) for verdict in found],
    }
    caption = (
        f"{analysis.study.question.rstrip()} Each hypothesis with its verdict; p is corrected for all tests of the "
        "study and all planned looks, the interval is not."
    )
    return table_of(analysis.study.name, "verdicts", caption, columns, list(map(_raw_verdict, found)))


def _estimate(verdict: Verdict) -> Number | None:
    if verdict.estimate is None:
        return None
    half = verdict.interval.half if verdict.interval else None
    number = rounded(verdict.estimate, half, _scale(verdict))
    return Number(number.value, number.decimals)


def _interval(verdict: Verdict) -> Ends | None:
    if verdict.interval is None:
        return None
    ends, scale = verdict.interval, _scale(verdict)
    decimals = decimals_for(ends.low, ends.half, scale)
    if scale != 1.0:
        # Student's t knows no bounds, but shares lie in 0..1 and are never more than 100 points apart.
        ends = ends.within(0.0 if _unit(verdict) == "%" else -1.0, 1.0)
    return Ends(*(Number(scale * end, decimals) for end in (ends.low, ends.high)))


def _scale(verdict: Verdict) -> float:
    return 100.0 if is_share(verdict.hypothesis.metric) and verdict.hypothesis.kind != "faster" else 1.0


def _unit(verdict: Verdict) -> str:
    """What the estimate is counted in."""
    kind, metric = verdict.hypothesis.kind, verdict.hypothesis.metric
    if kind == "faster":
        return "ratio"
    if not is_share(metric):
        return metric_in_text(metric)
    return "%" if kind in ("reaches", "at_chance") else "points" if kind != "trend" else "points per level"


def _chance(verdict: Verdict) -> Chance | None:
    # Without a test the p is 1 by rule.
    return Chance(verdict.corrected) if verdict.obstacle is None and not verdict.preliminary else None


def _raw_verdict(verdict: Verdict) -> dict[str, object]:
    return {
        "claim": verdict.hypothesis.claim,
        "kind": verdict.hypothesis.kind,
        "metric": verdict.hypothesis.metric,
        "decision": str(verdict.decision),
        "estimate": verdict.estimate,
        **raw_ends(verdict.interval),
        "corrected_p": verdict.corrected,
        "seeds": verdict.seeds,
        "sentence": sentence_and_warning(verdict),
    }
