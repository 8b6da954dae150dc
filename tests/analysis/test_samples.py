"""Cells are compared where they differ in what a hypothesis names and in nothing else; else it says so."""

from collections.abc import Sequence
from typing import Any

import pytest

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import cell_results, named_means
from cifarsweep.analysis.samples import sides
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.verdict_text import hypothesis_view, sentence
from cifarsweep.spec.hypothesis import Best, Equivalent, Greater, NotWorse, Trend

RATES = (3e-3, 1e-3, 3e-4)
FACTORS = {"optimizer.lr": RATES, "model.skip": (False, True)}
HELPS = Greater(kind="greater", claim="A skip connection helps", a={"model.skip": True}, b={"model.skip": False})
BEST = Best(kind="best", claim="0.001 is the best rate", factor="optimizer.lr", level=1e-3)
RISES = Trend(kind="trend", claim="Smaller rates are better", factor="optimizer.lr", direction="rising")


def tried(make: Any, hypothesis: Any, lost: Sequence[str]) -> ReportStudy:
    """The rate 3e-4 is 0.3 below the others, and a skip connection costs 0.01 everywhere; some cells are left out."""
    study = make.study(FACTORS, hypotheses=(hypothesis,))
    study = study.model_copy(update={"cells": tuple(cell for cell in study.cells if cell.name not in lost)})
    trials = [
        make.trial(number, one.cell.name, one.seed, final={"val/accuracy": value})
        for number, one in enumerate(study.trials())
        for value in [
            0.9 - 0.3 * (one.cell.levels["optimizer.lr"] == 3e-4) - 0.01 * one.cell.levels["model.skip"]
            + 1e-4 * (number**2 % 7)
        ]
    ]  # fmt: skip
    return make.report(study, trials)


@pytest.mark.parametrize("kind", [Greater, NotWorse, Equivalent])
def test_a_cell_without_a_counterpart_is_left_out(make: Any, kind: Any) -> None:
    """Without it the bad rate would count on one side alone, and make what costs a point look 9 points better."""
    about = {} if kind is Greater else {"margin": 0.015}
    claim = kind(kind={Greater: "greater", NotWorse: "not_worse", Equivalent: "equivalent"}[kind], claim="c",
                 a=HELPS.a, b=HELPS.b, **about)  # fmt: skip

    report = tried(make, claim, ["lr=0.0003, skip=yes"])
    (verdict,) = verdicts(report)

    assert [side.cells for side in sides(claim, report.study)] == [
        ("lr=0.003, skip=yes", "lr=0.001, skip=yes"), ("lr=0.003, skip=no", "lr=0.001, skip=no"),
    ]  # fmt: skip
    assert verdict.estimate == pytest.approx(-0.01, abs=0.001)
    assert verdict.decision == ("refuted" if kind is Greater else "supported"), sentence(verdict)
    assert "differ in more" not in sentence(verdict)
    assert len(named_means(claim, report, cell_results(report))) == 4


def test_cells_that_have_no_counterparts_are_compared_with_a_word_of_care(make: Any) -> None:
    report = tried(make, HELPS, ["lr=0.0003, skip=yes", "lr=0.003, skip=no", "lr=0.001, skip=no"])

    (verdict,) = verdicts(report)

    words = "the mean of 2 cells against one other, which differ in more than the claim names"
    assert verdict.decision == "supported" and words in sentence(verdict)
    assert words in hypothesis_view(verdict, [])["test"]


def test_arms_are_compared_as_they_are_named(make: Any) -> None:
    arms = Greater(kind="greater", claim="c", a="lr=0.003, skip=yes", b="lr=0.0003, skip=no")

    (verdict,) = verdicts(tried(make, arms, []))

    assert verdict.decision == "supported" and "differ in more" not in sentence(verdict)


@pytest.mark.parametrize("hypothesis", [BEST, RISES])
def test_levels_that_never_differ_alone_are_not_compared(make: Any, hypothesis: Any) -> None:
    report = tried(make, hypothesis, ["lr=0.003, skip=no", "lr=0.001, skip=yes", "lr=0.0003, skip=no"])

    (verdict,) = verdicts(report)

    assert (verdict.decision, verdict.seeds, verdict.p) == ("undecided", 0, 1.0)
    assert "no cells of the levels differ in optimizer.lr alone" in sentence(verdict)
    assert "differ in optimizer.lr alone" in hypothesis_view(verdict, [])["test"]
