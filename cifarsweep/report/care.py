"""How careful the study was with its test set: how often it was looked at, and whether anything was chosen by it."""

from __future__ import annotations

from collections.abc import Iterator

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.formatting import plural
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import BEST_ACCURACY, VAL_ACCURACY


def care_notes(report: ReportStudy) -> Iterator[str]:
    """Sentences on what the accuracy is of, how often those images were looked at, and which epoch is quoted."""
    if report.study.imported:
        yield "Which images the accuracy is of, and how often the test set was looked at, the imported logs don't say."
        yield _quoted(report)
        return
    sources = {_evaluated_on(cell.settings) for cell in report.study.cells}
    if len(sources) == 1:
        yield f"Accuracy is measured on {sources.pop()}"
    else:
        yield "Cells differ in the images that accuracy is measured on: see their settings."
    tested = {cell.name: cell.settings for cell in report.study.cells if cell.settings.validation.split == "test"}
    # All points of a search are evaluated alike, also those that no line is spent on.
    searched = bool(tested) and report.study.search is not None
    looks = [evaluations(report, trial.number) for trial in report.trials if searched or trial.cell in tested]
    if counts := [count for count in looks if count]:
        each = plural(max(counts), "time")
        chosen = (
            "The test set chose the points of this search: the best of them are worse on new images than here; hold "
            "out a part of the training set instead."
            if searched
            else "Choosing a cell by these accuracies makes the chosen one look better than it is."
        )
        yield (
            f"The test set was looked at {plural(sum(counts), 'time')} in {plural(len(counts), 'trial')}, at most "
            f"{each} in one. {chosen}"
        )
    if stopped := [name for name, settings in tested.items() if settings.early_stop.patience]:
        yield (
            f"In {plural(len(stopped), 'cell')} the test set also decided when to stop, so that these accuracies are "
            "too high for new images: hold out a part of the training set instead."
        )
    yield _quoted(report)


def _quoted(report: ReportStudy) -> str:
    """Which epoch the numbers are of; a hypothesis on the best value seen is an exception that must be named."""
    seen = [one.claim.rstrip(". ") for one in report.study.hypotheses if one.metric == BEST_ACCURACY]
    if not seen:
        return "The last value of a trial is quoted, not the best one seen."
    claims = " and ".join(f"\N{LEFT DOUBLE QUOTATION MARK}{claim}\N{RIGHT DOUBLE QUOTATION MARK}" for claim in seen)
    return (
        f"The last value of a trial is quoted, not the best one seen, but for {claims}: the best accuracy is the "
        "highest of many looks at the same images, which makes it too high for new ones."
    )


def evaluations(report: ReportStudy, number: int) -> int:
    """How often a trial was evaluated on its validation images, as its curve tells."""
    series = report.series.get((number, VAL_ACCURACY))
    return len(series[0]) if series is not None else report.evaluations.get(number, 0)


def _evaluated_on(settings: Settings) -> str:
    if settings.validation.split == "test":
        return f"the test set of {settings.dataset}, which was looked at during training as well."
    share = f"{100 * settings.validation.fraction:g} %"
    return (
        f"{share} of the training set of {settings.dataset}, held out by seed {settings.validation.seed}; "
        "the test set was not used."
    )
