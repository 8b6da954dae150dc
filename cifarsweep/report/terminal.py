"""The table of results for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult, best, cell_results
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.formatting import duration, number_text, visible
from cifarsweep.report.folding import shown_lines
from cifarsweep.report.promise import warnings
from cifarsweep.spec.types import VAL_ACCURACY
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from rich.table import Table

_DASH = "\N{EN DASH}"


def results_table(report: ReportStudy) -> Table:
    """The page's table 1, as narrow as 80 columns: accuracies in per cent, the highest mean in bold.

    Names are shown as they are, never as markup. What diverged or failed has a column only where there is any.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    every = cell_results(report)
    results = shown_lines(every)
    done = sum(trial.done for trial in report.trials)
    title = (
        f"{visible(report.study.question)}\n{one_line(report.study.name)}: {done} of {len(report.trials)} trials done"
    )
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
        table.caption, table.caption_justify = Text(visible(best_of)), "left"
    top = best(results)
    for result, trouble in zip(results, troubles, strict=True):
        numbers = [*_numbers(result), *([trouble or _DASH] if any(troubles) else [])]
        table.add_row(Text(one_line(visible(result.cell.name))), *numbers, style="bold" if result is top else None)
    return table


def verdict_lines(report: ReportStudy) -> list[str]:
    """Each hypothesis of the study with its verdict, a sentence each, and what is left of the promise on them."""
    return [*(visible(verdict.lines) for verdict in verdicts(report)), *warnings(report)]


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
