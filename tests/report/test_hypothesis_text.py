"""What a hypothesis says, in words."""

from typing import Any

import pytest
from support.studies import ABOVE, FAR, PLAIN, SKIP

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import cell_results, named_means
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.hypothesis_text import hypothesis_text
from cifarsweep.report.notes import figure_notes
from cifarsweep.report.render import render_study
from cifarsweep.report.summary import verdict_lines
from cifarsweep.report.verdict_text import hypothesis_view
from cifarsweep.spec.hypothesis import AtChance, Best, Equivalent, Faster, Greater, NotWorse, Reaches, Trend

CLAIMS = [
    (Greater(kind="greater", claim="c", a={"model.skip": True}, b={"model.skip": False}, margin=0.1), "10 points"),
    (NotWorse(kind="not_worse", claim="c", a=SKIP, b=PLAIN, margin=0.01), "at most 1 point below"),
    (Equivalent(kind="equivalent", claim="c", a=SKIP, b=PLAIN, margin=0.005), "less than 0.5 points either way"),
    (AtChance(kind="at_chance", claim="c", a=SKIP), "within 2 points of guessing"),
    (Reaches(kind="reaches", claim="c", a=SKIP, target=0.95, margin=0.01), "or at most 1 point below it"),
    (Faster(kind="faster", claim="c", a=SKIP, b=PLAIN, target=0.9, by="epoch"), "counted in epochs"),
    (Best(kind="best", claim="c", factor="model.skip", level=True), "model.skip = yes has the highest"),
    (
        Trend(kind="trend", claim="c", factor="model.skip", direction="rising"),
        "is rising on average along",
    ),
]


@pytest.mark.parametrize(("claim", "words"), CLAIMS, ids=lambda part: getattr(part, "kind", ""))
def test_each_hypothesis_is_put_into_words_with_the_means_it_names(mixed: Any, claim: Any, words: str) -> None:
    means = {named.cell: named.value for named in named_means(claim, mixed, cell_results(mixed))}

    assert words in hypothesis_text(claim)
    assert means[SKIP] is not None and means[SKIP].mean == pytest.approx(0.7)
    assert set(means) <= {SKIP, PLAIN}


def hypothesis_rows(report: ReportStudy) -> Any:
    """What the page says of the cells of the study's hypothesis."""
    (verdict,) = verdicts(report)
    return hypothesis_view(verdict, named_means(verdict.hypothesis, report, cell_results(report)))["rows"]


def test_a_cell_that_is_done_without_a_finite_value_is_not_called_undone(make: Any) -> None:
    helps = Greater(kind="greater", claim="c", a="skip=no", b="skip=yes")
    report = make.report(
        make.study({"model.skip": (False, True)}, hypotheses=(helps,)),
        [make.trial(0, "skip=no", 0, final={"val/accuracy": float("nan")})],
    )

    assert [row["mean"] for row in hypothesis_rows(report)] == ["no finite value", "no trial is done"]


def test_a_hypothesis_without_results_says_so(make: Any) -> None:
    report = make.report(make.study({"model.skip": (False, True)}, hypotheses=(CLAIMS[0][0],)), [])

    assert [(row["role"], row["mean"], row["n"]) for row in hypothesis_rows(report)] == [
        ("a", "no trial is done", 0),
        ("b", "no trial is done", 0),
    ]


def test_page_and_terminal_begin_with_the_verdicts(tried: Any) -> None:
    report = tried(FAR, ABOVE.model_copy(update={"claim": "<script>High is above</script>"}), plans=((3, 6),))

    page = render_study(analyse(report))

    assert '<li class="verdict supported">' in page and "&lt;script&gt;High is above" in page
    assert page.index('class="verdicts"') < page.index('class="lead"')
    assert [line[:25] for line in verdict_lines(analyse(report))] == ["<script>High is above</sc"]
    assert "Looks at the results are planned with 3 seeds at 2.5 %, 6 seeds at 2.5 %" in " ".join(
        figure_notes(report, [])
    )
