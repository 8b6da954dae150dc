"""Results of a user's own program: what is best of any metric, and what is tested on it."""

from dataclasses import replace

import pytest
from support.programs import program_report, program_study

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.confounds import confounds
from cifarsweep.analysis.results import best, cell_results, reach
from cifarsweep.analysis.samples import metrics_needed
from cifarsweep.analysis.study import analyse
from cifarsweep.spec.hypothesis import Best, Equivalent, Greater, Reaches
from cifarsweep.spec.levels import cell_name
from cifarsweep.spec.moments import At


@pytest.mark.parametrize(
    ("metric", "found"), [("val/accuracy", "lr=0.1"), ("bleu", "lr=0.1"), ("dev/error", "lr=0.01"), ("loss", "lr=0.01")]
)
def test_the_best_cell_has_the_least_of_a_loss_or_an_error_and_the_most_of_all_else(metric: str, found: str) -> None:
    report = program_report(program_study(metric), [0.9, 0.8, 0.7])

    analysis = analyse(report)

    top = best(analysis.results)
    assert top is not None and top.cell.name == found
    assert top.accuracy is not None and top.accuracy.n == 3


def test_hypotheses_are_judged_on_the_metric_of_the_program() -> None:
    """Given errors that fall with the rate, then less is better for `best` and `reaches`; `greater` is plain."""
    claims = (
        Best(kind="best", claim="0.01 is best", factor="lr", level=0.01, metric="dev/error"),
        Greater(kind="greater", claim="0.1 errs more", a={"lr": 0.1}, b={"lr": 0.01}, metric="dev/error"),
        Reaches(kind="reaches", claim="0.01 comes to 0.8", a={"lr": 0.01}, target=0.8, metric="dev/error"),
    )
    report = program_report(program_study("dev/error", hypotheses=claims), [3.0, 2.0, 0.7], spread=0.001)

    assert [str(verdict.decision) for verdict in analyse(report).verdicts] == ["supported"] * 3


@pytest.mark.parametrize(
    ("scale", "decisions"),
    [
        (1e-59, ["supported", "refuted", "supported"]),
        (1e59, ["supported", "refuted", "supported"]),
        *((scale, ["undecided"] * 3) for scale in (1e-320, 1e-170, 1e-78, 1e78, 1e200, 5e307)),
    ],
)
def test_numbers_whose_squares_are_none_decide_nothing(scale: float, decisions: list[str]) -> None:
    """Without a warning, which is an error in tests."""
    claims = (
        Greater(kind="greater", claim="more", a={"lr": 0.1}, b={"lr": 0.01}, metric="score"),
        Equivalent(kind="equivalent", claim="alike", a={"lr": 0.1}, b={"lr": 0.01}, margin=scale / 2, metric="score"),
        Best(kind="best", claim="best", factor="lr", level=0.1, metric="score"),
    )
    study = program_study("score", hypotheses=claims)
    report = program_report(study, [3 * scale, 2 * scale, scale], spread=scale / 50)

    found = analyse(replace(report, series={}))

    assert [str(verdict.decision) for verdict in found.verdicts] == decisions


def test_a_moment_of_training_is_one_of_the_steps_that_the_program_counts() -> None:
    claim = Greater(kind="greater", claim="x", a={"lr": 0.1}, b={"lr": 0.01}, metric="bleu", at=At(step=3))
    study = program_study("bleu", hypotheses=(claim,))

    (verdict,) = analyse(program_report(study, [3.0, 2.0, 1.0])).verdicts

    assert metrics_needed(study) == ["bleu", "epoch"]
    assert str(verdict.decision) == "supported" and verdict.estimate == pytest.approx(2.0)


def test_parameters_that_differ_beside_the_factors_are_confounds() -> None:
    study = program_study()
    wide = study.cells[2].model_copy(update={"parameters": {"width": 128, "optimizer.name": "sgd", "lr": 0.01}})
    study = study.model_copy(update={"cells": (*study.cells[:2], wide)})

    found = {one.what: one for one in confounds(study, cell_results(program_report(study, [0.9, 0.8, 0.7])))}

    assert [group.value for group in found["width"].groups] == ["64", "128"]


def test_no_mean_of_an_unknown_metric_is_an_outlier() -> None:
    assert reach([1000.0, 1001.0, 3.0], "bleu") is None


def test_studies_of_programs_compare_by_their_parameters() -> None:
    a = program_report(program_study("bleu"), [3.0, 2.0, 1.0], spread=0.001)
    other = program_study("bleu", name="again")
    renamed = tuple(
        cell.model_copy(update={"name": cell_name({"rate": cell.levels["lr"]}, ["rate"])}) for cell in other.cells
    )
    b = program_report(other.model_copy(update={"cells": renamed}), [4.0, 2.0, 1.0], spread=0.001)

    found = compare(a, b)

    assert [(match.a.cell.name, match.b.cell.name) for match in found.matches][0] == ("lr=0.1", "rate=0.1")
    assert [match.finding for match in found.matches] == ["higher", "no difference shown", "no difference shown"]
