"""Sentences on how the numbers of a page were made, and warnings on what they can't tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from cifarsweep.analysis.families import one_test
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.results import CellResult, state_counts
from cifarsweep.formatting import labelled, metric_in_text, plural, shown_interval
from cifarsweep.report.outcome_text import fell_out_notes
from cifarsweep.report.reuse_text import reuse_notes
from cifarsweep.spec.hypothesis import Hypothesis, moment_of
from cifarsweep.spec.metrics import BEST_ACCURACY, EARLY_STOPPED_AT, TEST_ACCURACY, VAL_ACCURACY
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import FINAL_STATES, TrialState
from cifarsweep.stats.multiplicity import ERROR_RATE, Plans, bound, levels

ONE_SEED = (
    "Some cells have one seed only, and one seed is never enough: it has no interval, and a difference to it may be "
    "chance. Add seeds before you conclude anything from it."
)

#: More cells than this are counted instead of named.
_NAMED = 6


@labelled
def figure_notes(report: ReportStudy, results: Sequence[CellResult]) -> list[str]:
    """Tell what the accuracies are of, how seeds are summed up, and what is missing."""
    seeds, missing = _seeds(report, results), _missing(report, results)
    fell_out, reused = fell_out_notes(report, results), reuse_notes(report)
    return [*evaluation_notes(report), *seeds, *fell_out, *_settings(report), *reused, *missing]


def _seeds(report: ReportStudy, results: Sequence[CellResult]) -> Iterator[str]:
    if not report.study.imported:
        yield f"Each cell was planned with {plural(len(report.study.seeds), 'seed')}."
    yield (
        "± and bands are 95 % intervals of the mean over seeds (Student's t); they speak of seeds, not of other data "
        "or machines."
    )
    if report.study.hypotheses:
        yield (
            "Verdicts are Welch's t tests, which take runs as independent and the values of a cell as about normal: "
            "where the dots are lopsided, or a seed fell out, a mean that is held against a number gives more false "
            "verdicts than promised."
        )
        yield from (f"{note}." for note in one_test_notes(report.study))
    means = [result.accuracy for result in results if result.accuracy]
    if any(mean.interval and not shown_interval(mean, report.study.metric) for mean in means):
        yield (
            "The range of the seeds stands in the place of the interval where there are two, and where an interval "
            "would reach beyond what is possible, such as above 100 %."
        )
    if report.looks:
        yield f"Looks at the results are planned with {plan_text(report.plans)}."
    if report.looks and len({len(result.trials) for result in results}) > 1:
        yield "Cells that no undecided hypothesis needed have fewer seeds."
    if any(result.accuracy is not None and result.accuracy.n == 1 for result in results):
        yield ONE_SEED


def _settings(report: ReportStudy) -> Iterator[str]:
    cells = () if report.study.imported or report.study.program else report.study.cells
    accuracy = metric_in_text(VAL_ACCURACY)
    if fast := [cell.name for cell in cells if cell.settings.determinism == "fast"]:
        yield f"{_which(fast, len(cells))} ran with determinism = fast: a repetition differs in the last digits."
    if early := [cell.name for cell in cells if cell.settings.early_stop.patience]:
        done = [trial for trial in report.trials if trial.done and trial.cell in early]
        stopped = sum(EARLY_STOPPED_AT in trial.final for trial in done)
        yield (
            f"{_which(early, len(cells))} may stop early, where the {accuracy} no longer rises, and {stopped} of the "
            f"{len(done)} that are done did: their last values stand at different steps, and beyond the first stop a "
            "curve is the mean of fewer seeds."
        )
    if kept := [cell.name for cell in cells if cell.settings.keep_best]:
        yield (
            f"{_which(kept, len(cells))} kept the weights of their best {accuracy} too. That accuracy was "
            "chosen by looking, so it is not quoted as the result."
        )


def _which(cells: Sequence[str], of: int) -> str:
    """Name the cells whose trials are meant: all, a few by name, or a number."""
    if len(cells) == of:
        return "Trials"
    return f"Trials of {' / '.join(cells)}" if len(cells) <= _NAMED else f"Trials of {len(cells)} of the {of} cells"


def _missing(report: ReportStudy, results: Sequence[CellResult]) -> Iterator[str]:
    failed = sum(result.failed for result in results)
    counts = state_counts(report)
    open_trials = sum(counts[state] for state in TrialState if state not in FINAL_STATES)
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


def left_out_notes(report: ReportStudy, cells: Collection[str], trials: Sequence[ReportTrial]) -> tuple[str, str]:
    """Say which cells and which trials a page leaves out, and how to get them; empty for nothing."""
    name, every = report.study.name, len(report.study.cells)
    tested = bool(report.study.hypotheses)
    held = "those with a reported number, " if report.study.reported else ""
    of_cells = (
        f"{len(cells):,} of {every:,} cells are shown here and in the figures: "
        f"{'those that hypotheses speak of, ' if tested else ''}{held}those on a Pareto front, "
        f"and those with the highest means.{' Verdicts count all of them.' if tested else ''} "
        f"The other {every - len(cells):,} are in what `cifarsweep report {name} --json` prints."
    )
    of_trials = (
        f"{len(trials):,} of {len(report.trials):,} trials are listed: those that failed, then those of the cells "
        f"shown. `cifarsweep show {name}/NUMBER` shows any other, `cifarsweep export {name}` writes the curves of all."
    )
    return of_cells if len(cells) < every else "", of_trials if len(trials) < len(report.trials) else ""


def curve_note(points: int) -> str:
    """Say how the curves of the main figure are drawn."""
    return (
        f"A curve is thinned to about {points} points, its extremes kept. Against time, each step stands at the mean "
        "training time after which the seeds of its cell reached it."
    )


def evaluation_notes(report: ReportStudy) -> Iterator[str]:
    """Tell which images the accuracy is of, how often these were used, and which epoch is quoted."""
    if report.study.imported:
        yield "Which images the accuracy is of, and how often the test set was looked at, the imported logs don't say."
        yield _quoted(report)
        return
    if report.study.program is not None:
        yield f"What {metric_in_text(report.study.metric)} was measured on, the program alone knows."
        yield _quoted(report)
        return
    sources = {_evaluated_on(cell.settings) for cell in report.study.cells}
    if len(sources) == 1:
        yield f"Accuracy is measured on {sources.pop()}"
    else:
        yield "Cells differ in the images that accuracy is measured on: see their settings."
    tested = {cell.name: cell.settings for cell in report.study.cells if cell.settings.validation.split == "test"}
    if len(tested) < len(report.study.cells):
        once = sum(TEST_ACCURACY in trial.final for trial in report.trials)
        looked = f"looked at once, after the last step, in {plural(once, 'trial')}" if once else "not used"
        yield f"Where images are held out, the test set was {looked}."
    # All points of a search are evaluated alike, also those that the page does not list.
    searched = bool(tested) and report.study.search is not None
    evaluated = [trial.number for trial in report.trials if searched or trial.cell in tested]
    if counts := [count for number in evaluated if (count := _evaluations(report, number))]:
        chosen = (
            "The test set chose the points of this search: the best of them are worse on new images than here; hold "
            "out a part of the training set instead."
            if searched
            else "Choosing a cell by these accuracies makes the chosen one look better than it is."
        )
        yield (
            f"The test set was looked at {plural(sum(counts), 'time')} in {plural(len(counts), 'trial')}, at most "
            f"{plural(max(counts), 'time')} in one. {chosen}"
        )
    if stopped := sum(bool(settings.early_stop.patience) for settings in tested.values()):
        yield (
            f"In {plural(stopped, 'cell')} the test set also decided when to stop, so that these accuracies are "
            "too high for new images: hold out a part of the training set instead."
        )
    yield _quoted(report)
    datasets = sorted({cell.settings.dataset for cell in report.study.cells})
    if compressed := [name for name in datasets if name.startswith("cifar10-jpeg")]:
        yield (
            f"The images of {' and '.join(compressed)} are those of CIFAR-10 after JPEG compression: accuracies are a "
            "little below those on the original pixels and can't be set beside published ones."
        )


def _quoted(report: ReportStudy) -> str:
    """Say which epoch is quoted, and which hypotheses are on the best epoch or on another moment instead."""
    moments = any(moment_of(test) for test in report.study.hypotheses)
    named = " A hypothesis that names a moment of training is tested on the values at that moment." if moments else ""
    best = [_quoted_claim(test) for test in report.study.hypotheses if test.metric == BEST_ACCURACY]
    last = report.study.final.mean_of
    quoted = "The last value of a trial is quoted" if last == 1 else _mean_quoted(last, report.study)
    if not best:
        return f"{quoted}, not the best one seen.{named}"
    return (
        f"{quoted}, not the best one seen, but for {' and '.join(best)}: the best accuracy is the "
        f"highest of many looks at the same images, which makes it too high for new ones.{named}"
    )


def _mean_quoted(last: int, study: Study) -> str:
    what = f"{metric_in_text(study.metric)}{'' if study.program else ' and loss'}"
    return (
        f"The final value of a trial is the mean of its last {last} evaluations of {what}, as a single "
        "one varies more while the rate is high: that mean is quoted"
    )


def _evaluations(report: ReportStudy, number: int) -> int:
    """How often a trial was evaluated on its validation images."""
    series = report.series.get((number, report.study.metric))
    return len(series[0]) if series is not None else report.evaluations.get(number, 0)


def _evaluated_on(settings: Settings) -> str:
    if settings.validation.split == "test":
        return f"the test set of {settings.dataset}, which was looked at during training as well."
    share = f"{100 * settings.validation.fraction:g} %"
    return f"{share} of the training set of {settings.dataset}, held out by seed {settings.validation.seed}."


def plan_text(plans: Plans) -> str:
    """`3 seeds at 1.25 %, 6 seeds at 1.25 %, 12 seeds at 2.5 %`: each look with its level."""
    return ", ".join(f"{seeds} seeds at {_percent(level)}" for seeds, level in levels(plans).items())


def one_test_notes(study: Study) -> list[str]:
    """Name the hypotheses that are one test."""
    return [
        f"{' and '.join(_quoted_claim(one) for one in group)} are one test, and count once in the correction for the "
        "number of tests"
        for group in one_test(study)
    ]


def _quoted_claim(hypothesis: Hypothesis) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{hypothesis.claim.rstrip('. ')}\N{RIGHT DOUBLE QUOTATION MARK}"


def warnings(report: ReportStudy) -> list[str]:
    """Warn of everything that makes false verdicts more frequent than promised."""
    texts = (error_rate_warning(report.study, report.plans), _cancelled_warning(report))
    return [text for text in texts if text]


def error_rate_bound(report: ReportStudy) -> float | None:
    """The upper bound of the chance of any false verdict; None if it is unknown."""
    return None if _cancelled_warning(report) else bound(report.plans)


def _cancelled_warning(report: ReportStudy) -> str | None:
    count = sum(trial.state == TrialState.CANCELLED for trial in report.trials)
    if not count or not report.study.hypotheses:
        return None
    were = "1 trial was" if count == 1 else f"{count} trials were"
    return (
        f"{were} cancelled: if somebody did that in view of the numbers, the chance of a false verdict is more than "
        f"{_percent(bound(report.plans))}."
    )


def error_rate_warning(study: Study, plans: Plans) -> str | None:
    """Warn if an unplanned look raised the chance of a false verdict."""
    if not study.hypotheses or bound(plans) <= ERROR_RATE * (1 + 1e-9):
        return None
    return (
        "This study was extended after a look that was not planned: the chance of a false verdict is at most "
        f"{_percent(bound(plans))}, not {_percent(ERROR_RATE)}; plan before the first look to keep "
        f"{_percent(ERROR_RATE)}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
