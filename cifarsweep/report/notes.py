"""How the figures were made, in sentences that a reader can check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult, state_counts
from cifarsweep.formatting import plural
from cifarsweep.report.care import care_notes
from cifarsweep.report.promise import plan_text
from cifarsweep.spec.types import EARLY_STOPPED_AT, FINAL_STATES, TrialState
from cifarsweep.stats import Interval

ONE_SEED = (
    "Some cells have one seed only, and one seed is never enough: it has no interval, and a difference to it may be "
    "chance. Add seeds before you conclude anything from it."
)

#: More cells than this are counted rather than named.
_NAMED = 6


def figure_notes(report: ReportStudy, results: Sequence[CellResult]) -> list[str]:
    """Sentences on what the accuracies are of, how seeds are summed up, and what is missing."""
    return [*_measured(report), *_seeds(report, results), *_recipe(report), *_missing(report, results)]


def _measured(report: ReportStudy) -> Iterator[str]:
    yield from care_notes(report)
    if report.study.imported:
        return
    datasets = sorted({cell.settings.dataset for cell in report.study.cells})
    if compressed := [name for name in datasets if name.startswith("cifar10-jpeg")]:
        yield (
            f"The images of {' and '.join(compressed)} are those of CIFAR-10 after JPEG compression: accuracies are a "
            "little below those on the original pixels and can't be set beside published ones."
        )


def _seeds(report: ReportStudy, results: Sequence[CellResult]) -> Iterator[str]:
    if not report.study.imported:
        yield f"Each cell was planned with {plural(len(report.study.seeds), 'seed')}."
    yield (
        "± and bands are 95 % intervals of the mean over seeds (Student's t); they speak of seeds, not of other data "
        "or machines."
    )
    if report.study.hypotheses:
        yield (
            "Verdicts are t tests, which take the values of different seeds for independent and about normal; where "
            "all seeds are alike, or some never came to a target, it is a sign test. Where the dots are lopsided, or a "
            "seed fell out, false verdicts are more frequent than promised: add seeds."
        )
    if any(result.accuracy and _beyond(result.accuracy.interval) for result in results):
        yield (
            "Some intervals reach below 0 % or above 100 %, as Student's t knows no such bounds: read them as ending "
            "there."
        )
    if report.looks:
        yield f"Looks at the results are planned with {plan_text(report.plans)}."
    if report.looks and len({len(result.trials) for result in results}) > 1:
        yield "Cells that no undecided hypothesis needed have fewer seeds."
    if any(result.accuracy is not None and result.accuracy.n == 1 for result in results):
        yield ONE_SEED


def _beyond(interval: Interval | None) -> bool:
    return interval is not None and (interval.low < 0 or interval.high > 1)


def _recipe(report: ReportStudy) -> Iterator[str]:
    cells = () if report.study.imported else report.study.cells
    if fast := [cell.name for cell in cells if cell.settings.determinism == "fast"]:
        yield f"{_which(fast, len(cells))} ran with determinism = fast: a repetition differs in the last digits."
    if early := [cell.name for cell in cells if cell.settings.early_stop.patience]:
        done = [trial for trial in report.trials if trial.done and trial.cell in early]
        stopped = sum(EARLY_STOPPED_AT in trial.final for trial in done)
        yield (
            f"{_which(early, len(cells))} may stop early, where the validation accuracy no longer rises, and {stopped} "
            f"of the {len(done)} that are done did: their last values stand at different steps, and beyond the first "
            "stop a curve is the mean of fewer seeds."
        )
    if kept := [cell.name for cell in cells if cell.settings.keep_best]:
        yield (
            f"{_which(kept, len(cells))} kept the weights of their best validation accuracy too. That accuracy was "
            "chosen by looking, so it is not quoted as the result."
        )


def _which(cells: Sequence[str], of: int) -> str:
    """`Trials`, where it is all of them, else those of which cells, as far as a reader wants to know their names."""
    if len(cells) == of:
        return "Trials"
    return f"Trials of {' / '.join(cells)}" if len(cells) <= _NAMED else f"Trials of {len(cells)} of the {of} cells"


def _missing(report: ReportStudy, results: Sequence[CellResult]) -> Iterator[str]:
    diverged = sum(result.diverged for result in results)
    failed = sum(result.failed for result in results)
    counts = state_counts(report)
    open_trials = sum(counts[state] for state in TrialState if state not in FINAL_STATES)
    if diverged:
        yield (
            f"{plural(diverged, 'trial')} diverged and {'counts' if diverged == 1 else 'count'} at chance accuracy. "
            "The curve of a diverged trial ends where its loss does; from there on the mean is of the other seeds, and "
            "the number of seeds at a point shows when it is pointed at."
        )
    if failed:
        yield f"{plural(failed, 'trial')} failed and {'is' if failed == 1 else 'are'} in no mean."
    if cancelled := counts[TrialState.CANCELLED]:
        was = "was cancelled and is" if cancelled == 1 else "were cancelled and are"
        yield f"{plural(cancelled, 'trial')} {was} in no mean; curves show them as far as they got."
    if open_trials:
        yield (
            f"{plural(open_trials, 'trial')} {'is' if open_trials == 1 else 'are'} not finished: final values leave "
            "them out, curves show them as far as they are."
        )


def curve_note(points: int) -> str:
    """What was done to the curves of the main figure."""
    return (
        f"A curve is thinned to about {points} points, its extremes kept. Against time, each step stands at the mean "
        "training time after which the seeds of its cell reached it."
    )
