"""Two seeds show their range and no interval, and no interval goes beyond what a metric can be, anywhere."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.pages import EXAMPLES

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.study import analyse
from cifarsweep.report.comparison_page import comparison_view
from cifarsweep.report.effects_text import effect_lines
from cifarsweep.report.figures import class_payload, curve_payload, unpacked
from cifarsweep.report.paper_tables import paper_tables
from cifarsweep.report.render import render_study
from cifarsweep.report.results_table import results_table
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import comparison_fields, study_fields, verdict_lines
from cifarsweep.report.table_formats import table_text
from cifarsweep.spec.hypothesis import Greater, Reaches

SKIP, PLAIN = "skip=yes", "skip=no"
CLAIMS = (
    Greater(kind="greater", claim="The skip helps", a=SKIP, b=PLAIN),
    Reaches(kind="reaches", claim="The skip gets to 90 %", a=SKIP, target=0.9),
)


def study_of(make: Any, *values: tuple[float, ...]) -> ReportStudy:
    """Two cells, each with these accuracies."""
    study = make.study({"model.skip": (False, True)}, seeds=len(values[0]), hypotheses=CLAIMS)
    pairs = [
        (cell, seed, value) for cell, of in zip((PLAIN, SKIP), values, strict=True) for seed, value in enumerate(of)
    ]
    return make.report(
        study, [make.trial(n, cell, seed, final={"val/accuracy": value}) for n, (cell, seed, value) in enumerate(pairs)]
    )


@pytest.fixture
def two(make: Any) -> ReportStudy:
    return study_of(make, (0.90, 0.92), (0.95, 0.99))


@pytest.fixture
def wide(make: Any) -> ReportStudy:
    """Student's t would reach from 84 to 112 % of the second cell."""
    return study_of(make, (0.90, 0.91, 0.92), (0.94, 1.0, 0.99))


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("&nbsp;", " ")


def intervals(value: Any) -> list[Any]:
    """Every interval anywhere in JSON."""
    if isinstance(value, dict):
        return [part for key, one in value.items() for part in ([one] if "interval" in key and one else intervals(one))]
    return [part for one in value for part in intervals(one)] if isinstance(value, list) else []


def test_two_seeds_have_no_interval_in_json_and_a_difference_without_one(two: ReportStudy) -> None:
    fields = json.loads(json.dumps(study_fields(analyse(two))))

    assert intervals(fields) == []
    assert [(cell["min"], cell["max"]) for cell in fields["cells"]] == [(0.9, 0.92), (0.95, 0.99)]
    assert fields["verdicts"][0]["estimate"] == pytest.approx(0.06) and fields["verdicts"][0]["decision"] == "undecided"


def test_two_seeds_are_told_as_their_range(two: ReportStudy) -> None:
    told, reaches = map(plain, verdict_lines(analyse(two))[:2])

    assert told.startswith(
        "Undecided: The skip helps: 97.0 % (95.0 to 99.0 %) against 91.0 % (90.0 to 92.0 %) (difference 6.0 points; "
        "no test with fewer than 3 seeds; 2 seeds)"
    )
    assert "97.0 % (95.0 to 99.0 %)" in reaches and "interval" not in told + reaches


def test_the_page_marks_the_range_of_two_seeds_without_caps(two: ReportStudy) -> None:
    analysis = analyse(two)

    row = study_view(analysis)["results"][1]
    page = plain(render_study(analysis))

    assert (plain(row["mean"]), plain(row["range"])) == ("97.0 %", "95.0 to 99.0 %"), "the range has its own column"
    assert row["mark"]["ends"] == [] and row["mark"]["range"][0] < row["mark"]["value"] < row["mark"]["range"][1]
    assert 'class="range"' in page and "The range of the seeds stands in the place of the interval" in page
    assert study_view(analysis)["payload"]["cells"][1]["interval"] is None
    assert study_view(analysis)["payload"]["cells"][1]["range"] == [0.95, 0.99]


def test_an_interval_beyond_the_range_of_a_share_is_nowhere(wide: ReportStudy) -> None:
    analysis = analyse(wide)
    fields = json.loads(json.dumps(study_fields(analysis)))

    assert all(-1 <= low <= high <= 1 for low, high in intervals(fields)) and intervals(fields)
    assert [bool(cell["interval"]) for cell in fields["cells"]] == [True, False]
    assert all(-1 <= end <= 1 for verdict in analysis.verdicts for end in (verdict.interval.low, verdict.interval.high))
    reaches = analysis.verdicts[1]
    assert reaches.interval.high == reaches.decisive.high == 1.0


@pytest.mark.parametrize("values", [((0.90, 0.92), (0.95, 0.99)), ((0.90, 0.91, 0.92), (0.94, 1.0, 0.99))])
def test_the_terminal_and_latex_have_the_range(make: Any, values: Any) -> None:
    analysis = analyse(study_of(make, *values))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(results_table(analysis))

    table = table_text(paper_tables(analysis)[0], "latex")

    assert "range" in capture.get() and ("two seeds" in capture.get()) == (len(values[0]) == 2)
    assert all(float(end) <= 100 for end in re.findall(r"\d+\.\d", capture.get()))
    assert "Range" in table


def test_the_terminal_keeps_the_range_where_it_stands_for_an_interval(two: ReportStudy) -> None:
    """Beside a column for the test set and one for failures there is else no room for it."""
    trials = tuple(replace(one, final={**one.final, "test/accuracy": 0.9}) for one in two.trials)
    failed = replace(trials[0], number=9, seed=9, state="failed", final={}, outcome=None)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(results_table(analyse(replace(two, trials=(*trials, failed)))))

    assert "range" in capture.get() and "95.0–99.0" in capture.get()


def test_two_studies_are_compared_without_an_interval_of_two_seeds(two: ReportStudy, wide: ReportStudy) -> None:
    few, more = compare(two, two), compare(wide, wide)

    assert [match["interval"] for match in comparison_fields(few)["cells"]] == [None, None]
    assert (
        comparison_view(few)["rows"][0]["difference"] == "0.0" and comparison_view(few)["rows"][0]["mark"]["ends"] == []
    )
    assert all(abs(end) <= 1 for match in comparison_fields(more)["cells"] for end in match["interval"])


def test_the_band_of_two_curves_is_between_them_and_none_leaves_the_range_of_its_metric() -> None:
    report = EXAMPLES["sixty"]()
    payload = curve_payload(report)

    accuracy = next(metric for metric in payload["metrics"] if metric["name"] == "val/accuracy")
    number = {(one.cell, one.seed): one.number for one in report.trials}
    name = report.study.cells[0].name
    curves = [report.series[number[name, seed], "val/accuracy"][1] for seed in (0, 1)]
    low, high = (unpacked(accuracy["curves"][0][key]) for key in ("low", "high"))
    assert low == pytest.approx(np.minimum(*curves), abs=1e-6) and high == pytest.approx(np.maximum(*curves), abs=1e-6)


def test_accuracies_of_classes_have_both_ends() -> None:
    report = EXAMPLES["single"]()

    (found,) = class_payload(report, cell_results(report))["cells"]

    low, mean, high = (unpacked(found[key]) for key in ("low", "mean", "high"))
    assert (
        all((one <= other).all() for one, other in pairwise((low, mean, high))) and high.max() <= 1 and low.min() >= 0
    )


def test_effects_stand_on_the_spread_of_all_cells_so_that_two_seeds_of_each_are_enough() -> None:
    told = effect_lines(analyse(EXAMPLES["sixty"]()))

    assert all("±" in line for line in told[:2])
