"""The results of a study's cells as a table for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cifarsweep.analysis.results import CellResult, best
from cifarsweep.analysis.study import StudyAnalysis, shown_lines
from cifarsweep.formatting import duration, labelled, metric_in_text, number_text, shown_interval
from cifarsweep.report.summary import failures
from cifarsweep.spec.metrics import TEST_ACCURACY, is_share
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from rich.table import Table

#: Signs in a line of a heading: the name of a program's metric may be long.
_WIDEST = 12
_DASH = "\N{EN DASH}"


@labelled
def results_table(analysis: StudyAnalysis) -> Table:
    """Table 1 of the page in 80 columns: accuracies in per cent, the best mean in bold.

    Names are never read as markup. The test set and trials that fell out or failed have a column only if there are any
    results of theirs; beside both, ranges would leave no room for names, and have one only in the place of an interval.
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
    tested, troubled = any(result.test for result in results), any(failures(result) for result in results)
    means = [result.accuracy for result in results if result.accuracy and result.accuracy.interval]
    ranges = any(shown_interval(mean, report.study.metric) is None for mean in means)
    left_out = {"test": not tested, "trouble": not troubled, "range": tested and troubled and not ranges}
    headings = {name: heading for name, heading in _headings(report.study.metric).items() if not left_out.get(name)}
    for heading in headings.values():
        table.add_column(heading, justify="right", no_wrap=True)
    if len(results) < len(every):
        best_of = (
            f"the best {len(results)} of {len(every):,} cells; `cifarsweep report {report.study.name} --json` has all"
        )
        table.caption, table.caption_justify = Text(best_of), "left"
    top = best(results)
    for result in results:
        line = _line(result)
        numbers = [line.get(name, _DASH) for name in headings]
        table.add_row(Text(one_line(result.cell.name)), *numbers, style="bold" if result is top else None)
    return table


def _headings(metric: str) -> dict[str, str]:
    """The columns of numbers, by name."""
    label = one_line(metric_in_text(metric))
    label = "\n".join(line for word in label.split() for line in textwrap.wrap(word, _WIDEST))
    numbers = {
        "n": "n",
        "mean": f"{label}\n%" if is_share(metric) else label,
        "interval": "95 %\ninterval",
        "range": "range",
    }
    return {**numbers, "test": "test\naccuracy\n%", "time": "time", "trouble": "trouble"}


def _line(result: CellResult) -> dict[str, str]:
    """The numbers of a cell by the name of their column; those that it does not have are left out."""
    line = {"n": "0", "time": duration(result.seconds)}
    if result.test:
        line["test"] = number_text(result.test.mean, result.test, TEST_ACCURACY)
    if trouble := failures(result):
        line["trouble"] = "\n".join(trouble)
    accuracy = result.accuracy
    if accuracy is None:
        return line
    least, most, mean = (number_text(x, accuracy, result.metric) for x in (accuracy.min, accuracy.max, accuracy.mean))
    shown = shown_interval(accuracy, result.metric)
    interval = {1: "one seed", 2: "two seeds"}.get(accuracy.n, "far apart" if accuracy.interval else "all alike")
    if shown is not None:
        interval = _DASH.join(number_text(end, accuracy, result.metric) for end in (shown.low, shown.high))
    return {**line, "n": str(accuracy.n), "mean": mean, "interval": interval, "range": f"{least}{_DASH}{most}"}
