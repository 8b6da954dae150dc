"""A study in a few words: its line in the index, its JSON, its table for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cifarsweep.analysis.comparison import Comparison, Match
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult, best, state_counts
from cifarsweep.analysis.study import StudyAnalysis, shown_lines
from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.formatting import duration, keep_together, mean_text, number_text, plural, trial_counts
from cifarsweep.report.marks import forest_mark
from cifarsweep.report.notes import error_rate_bound, warnings
from cifarsweep.report.verdict_text import detail, sentence, sentence_and_warning, warning
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.stats import Interval
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from rich.table import Table


def index_row(analysis: StudyAnalysis) -> dict[str, Any]:
    """One study's line of the index."""
    report, found = analysis.report, analysis.verdicts
    top = best(analysis.results)
    decisions = Counter(verdict.decision for verdict in found)
    counts = [f"{decisions[word]} {word}" for word in ("supported", "refuted", "undecided") if decisions[word]]
    return {
        "name": report.study.name,
        "question": report.study.question,
        "verdict": verdict_row(found[0]) if found else None,
        "decisions": f"{len(found)} hypotheses: {', '.join(counts)}" if len(found) > 1 else None,
        "lead": lead(report, analysis.results),
        "progress": progress(report),
        "counts": counts_text(report),
        "best_cell": top.cell.name if top else None,
        "best_mean": mean_text(top.accuracy, VAL_ACCURACY) if top and top.accuracy else None,
        "best_n": plural(top.accuracy.n, "seed") if top and top.accuracy else None,
    }


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """A hypothesis with its verdict, for a page."""
    return {
        "decision": verdict.decision,
        "claim": keep_together(verdict.hypothesis.claim.rstrip(". ")),
        "detail": keep_together(detail(verdict)),
        "warning": keep_together(warning(verdict)),
        "forest": forest_mark(verdict),
    }


def progress(report: ReportStudy) -> dict[str, int]:
    """Trials that are done, and all."""
    return {"done": state_counts(report)[TrialState.DONE], "total": len(report.trials)}


def counts_text(report: ReportStudy) -> str:
    """All trials by their state; those that a search ended early are told apart from those that are done."""
    counts = trial_counts(state_counts(report), sum(trial.pruned for trial in report.trials))
    return f"{plural(len(report.trials), 'trial')}: {counts}" if report.trials else counts


def lead(report: ReportStudy, results: Sequence[CellResult]) -> str:
    """The cell with the highest mean in a sentence, and what it is worth so far."""
    top = best(results)
    if top is None or top.accuracy is None:
        return _nothing_found(report)
    mean = f"{mean_text(top.accuracy, VAL_ACCURACY)} (n = {top.accuracy.n})"
    found = f"{_highest(report, results, top.cell.name, mean)}; {_finished(report)}."
    if top.accuracy.n == 1:
        return f"{found} That is one seed, and one seed decides nothing: another one may say the opposite."
    return found


def _nothing_found(report: ReportStudy) -> str:
    counts = counts_text(report)
    if not state_counts(report)[TrialState.DONE]:
        return f"No trial is done yet ({counts}), so nothing is found so far."
    rename = "; import it again with --rename TAG=" + VAL_ACCURACY if report.study.imported else ""
    return f"No trial that is done has a finite {VAL_ACCURACY} ({counts}), so nothing is found so far{rename}."


def _highest(report: ReportStudy, results: Sequence[CellResult], cell: str, mean: str) -> str:
    if report.study.search is not None:
        points = len({trial.cell for trial in report.trials})
        return f"Of {plural(points, 'point')} that were tried, {cell} has the highest validation accuracy: {mean}"
    if len(results) == 1:
        return f"The only cell reaches a validation accuracy of {mean}"
    known = sum(result.accuracy is not None for result in results)
    of = plural(len(results), "cell") if known == len(results) else f"the {known} of {len(results)} cells with a result"
    return f"Of {of}, {cell} has the highest mean validation accuracy: {mean}"


def _finished(report: ReportStudy) -> str:
    found, counts = progress(report), state_counts(report)
    left = sum(counts[state] for state in (TrialState.QUEUED, TrialState.LEASED, TrialState.PAUSED))
    done = f"{found['done']} of {plural(found['total'], 'trial')} {'is' if found['total'] == 1 else 'are'} done"
    pruned = sum(trial.pruned for trial in report.trials)
    done += f", {pruned} of them pruned" if pruned else ""
    return f"{done}, so this is preliminary" if left else done


_DASH = "\N{EN DASH}"


def results_table(analysis: StudyAnalysis) -> Table:
    """The page's table 1, as narrow as 80 columns: accuracies in per cent, the highest mean in bold.

    Names are shown as they are, never as markup. What diverged or failed has a column only where there is any.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    report, every = analysis.report, analysis.results
    results = shown_lines(every)
    done = sum(trial.done for trial in report.trials)
    title = f"{report.study.question}\n{one_line(report.study.name)}: {done} of {len(report.trials)} trials done"
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    table.add_column("cell", overflow="fold", min_width=12)
    troubles = [_trouble(result) for result in results]
    for heading in ("n", "accuracy\n%", "95 %\ninterval", "range", "time", *(["trouble"] if any(troubles) else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    if len(results) < len(every):
        best_of = (
            f"the best {len(results)} of {len(every):,} cells; `cifarsweep report {report.study.name} --json` has all"
        )
        table.caption, table.caption_justify = Text(best_of), "left"
    top = best(results)
    for result, trouble in zip(results, troubles, strict=True):
        numbers = [*_numbers(result), *([trouble or _DASH] if any(troubles) else [])]
        table.add_row(Text(one_line(result.cell.name)), *numbers, style="bold" if result is top else None)
    return table


def verdict_lines(analysis: StudyAnalysis) -> list[str]:
    """Each hypothesis of the study with its verdict, a sentence each, and what is left of the promise on them."""
    return [*(sentence_and_warning(verdict) for verdict in analysis.verdicts), *warnings(analysis.report)]


def _trouble(result: CellResult) -> str:
    counts = ((result.diverged, "diverged"), (result.failed, "failed"))
    return "\n".join(f"{count} {what}" for count, what in counts if count)


def _numbers(result: CellResult) -> list[str]:
    accuracy = result.accuracy
    if accuracy is None:
        return ["0", _DASH, _DASH, _DASH, duration(result.seconds)]
    least, most, mean = (number_text(x, accuracy, VAL_ACCURACY) for x in (accuracy.min, accuracy.max, accuracy.mean))
    interval = "one seed" if accuracy.n == 1 else "all alike"
    if accuracy.interval is not None:
        ends = (accuracy.interval.low, accuracy.interval.high)
        interval = _DASH.join(number_text(end, accuracy, VAL_ACCURACY) for end in ends)
    return [str(accuracy.n), mean, interval, f"{least}{_DASH}{most}", duration(result.seconds)]


def study_fields(analysis: StudyAnalysis) -> dict[str, Any]:
    """One study: its verdicts, and each cell's validation accuracy at the end of training with its costs."""
    report = analysis.report
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
        "false_verdicts_at_most": error_rate_bound(report),
        "promise": " ".join(warnings(report)) or None,
        "verdicts": [_verdict_fields(verdict) for verdict in analysis.verdicts],
        "cells": [_cell_fields(result) for result in analysis.results],
    }


def comparison_fields(found: Comparison) -> dict[str, Any]:
    """Two studies: the difference of each cell that both have, b minus a."""
    return {
        "a": {"study": found.a.study.name, "database": found.a.database},
        "b": {"study": found.b.study.name, "database": found.b.database},
        "cells": [_match_fields(match) for match in found.matches],
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
    }


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
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
        "interval": _ends(accuracy.interval) if accuracy else None,
        "min": accuracy.min if accuracy else None,
        "max": accuracy.max if accuracy else None,
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
        "interval": _ends(estimate.interval()) if estimate else None,
        "method": estimate.method if estimate else None,
        "seeds": estimate.n if estimate else 0,
        "corrected_p": match.corrected,
        "finding": match.finding,
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
