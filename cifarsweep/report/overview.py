"""A study in a few words: what it found, how far it is, and its line in the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult, best, cell_results, state_counts
from cifarsweep.analysis.verdict import Verdict
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.formatting import mean_text, plural, prose, state_text, visible
from cifarsweep.report.marks import forest_mark
from cifarsweep.spec.types import VAL_ACCURACY, TrialState


def index_row(report: ReportStudy) -> dict[str, Any]:
    """One study's line of the index."""
    results = cell_results(report)
    top = best(results)
    found = verdicts(report)
    decisions = Counter(verdict.decision for verdict in found)
    counts = [f"{decisions[word]} {word}" for word in ("supported", "refuted", "undecided") if decisions[word]]
    return {
        "name": report.study.name,
        "question": visible(report.study.question),
        "verdict": verdict_row(found[0]) if found else None,
        "decisions": f"{len(found)} hypotheses: {', '.join(counts)}" if len(found) > 1 else None,
        "lead": lead(report, results),
        "progress": progress(report),
        "counts": counts_text(report),
        "best_cell": visible(top.cell.name) if top else None,
        "best_mean": mean_text(top.accuracy, VAL_ACCURACY) if top and top.accuracy else None,
        "best_n": plural(top.accuracy.n, "seed") if top and top.accuracy else None,
    }


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """A hypothesis with its verdict, for a page."""
    return {
        "decision": verdict.decision,
        "claim": prose(verdict.hypothesis.claim.rstrip(". ")),
        "detail": prose(verdict.detail),
        "warning": prose(verdict.warning),
        "forest": forest_mark(verdict),
    }


def progress(report: ReportStudy) -> dict[str, int]:
    """Trials that are done, and all."""
    return {"done": state_counts(report)[TrialState.DONE], "total": len(report.trials)}


def counts_text(report: ReportStudy) -> str:
    """All trials by their state; those that a search ended early are told apart from those that are done."""
    counts = state_counts(report)
    pruned = sum(trial.pruned for trial in report.trials)
    named = {state_text(state): count for state, count in counts.items()}
    named[TrialState.DONE] -= pruned
    shown = [f"{count} {state}" for state, count in (*named.items(), ("pruned", pruned)) if count]
    return f"{plural(len(report.trials), 'trial')}: {', '.join(shown)}" if shown else "no trials"


def lead(report: ReportStudy, results: Sequence[CellResult]) -> str:
    """The cell with the highest mean in a sentence, and what it is worth so far."""
    top = best(results)
    if top is None or top.accuracy is None:
        return _nothing_found(report)
    mean = f"{mean_text(top.accuracy, VAL_ACCURACY)} (n = {top.accuracy.n})"
    found = f"{_highest(report, results, visible(top.cell.name), mean)}; {_finished(report)}."
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
