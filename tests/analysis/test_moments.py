"""Hypotheses about a moment of training, in place of its end."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.studies import ABOVE, HIGH, LOW

from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import cell_results, named_means
from cifarsweep.analysis.samples import metrics_needed
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.hypothesis_text import hypothesis_text
from cifarsweep.report.summary import study_fields
from cifarsweep.report.verdict_text import hypothesis_view, sentence
from cifarsweep.spec.hypothesis import AtChance, Greater, Reaches
from cifarsweep.spec.moments import At

EARLY = ABOVE.model_copy(update={"at": At(step=50)})
FIRST_EPOCH = ABOVE.model_copy(update={"at": At(epoch=1)})


def curves(report: ReportStudy, *, lead: str, name: str = "val/accuracy") -> ReportStudy:
    """Values at steps 50 and 100, epochs 1 and 2: `lead` is above the others at first, and below them in the end."""
    series: dict[Any, Any] = {}
    steps = np.array([50, 100])
    for trial in report.trials:
        first = 0.6 + 0.013 * trial.seed if trial.cell == lead else 0.4 + 0.01 * trial.seed
        series[trial.number, name] = steps, np.array([first, 1 - first])
        series[trial.number, "epoch"] = steps, np.array([1.0, 2.0])
    return replace(report, series=series)


def ended(report: ReportStudy, **changes: Any) -> ReportStudy:
    """The trials of the high rate, changed."""
    trials = tuple(replace(trial, **changes) if trial.cell == HIGH else trial for trial in report.trials)
    return replace(report, trials=trials)


@pytest.mark.parametrize(("early", "words"), [(EARLY, "at step 50, 61"), (FIRST_EPOCH, "at epoch 1, 61")])
def test_the_values_of_the_moment_decide(tried: Any, early: Greater, words: str) -> None:
    report = curves(tried({LOW: [0.6, 0.59, 0.58], HIGH: [0.4, 0.387, 0.374]}, early, ABOVE), lead=HIGH)

    at_moment, at_end = verdicts(report)

    assert (at_moment.decision, at_end.decision) == ("supported", "refuted")
    assert at_moment.estimate == pytest.approx(0.203) and at_end.estimate == pytest.approx(-0.203)
    assert words in sentence(at_moment) and " at " not in sentence(at_end).split(":")[-1]


def test_page_and_json_name_the_moment(tried: Any) -> None:
    report = curves(tried({LOW: [0.6] * 3, HIGH: [0.4] * 3}, EARLY, ABOVE), lead=HIGH)
    view = hypothesis_view(verdicts(report)[0], named_means(EARLY, report, cell_results(report)))

    assert hypothesis_text(EARLY) == "Holds if the mean validation accuracy at step 50 of a is above that of b."
    assert view["metric"] == "Validation accuracy at step 50" and view["rows"][0]["mean"].startswith("61")
    assert [each["at"] for each in study_fields(analyse(report))["verdicts"]] == [{"step": 50}, None]


def test_a_moment_between_two_evaluations_lies_on_the_line_between_them(tried: Any) -> None:
    middle = Reaches(kind="reaches", claim="c", a=HIGH, target=0.5, margin=0.1, at=At(step=75))
    (verdict,) = verdicts(curves(tried({LOW: [0.6] * 3, HIGH: [0.4] * 3}, middle), lead=HIGH))

    assert verdict.estimate == pytest.approx(0.5)


@pytest.mark.parametrize("at", [At(step=101), At(step=49), At(epoch=2.5), At(epoch=0.5)])
def test_without_evaluations_around_the_moment_there_is_no_value(tried: Any, at: At) -> None:
    claim = ABOVE.model_copy(update={"at": at})
    (verdict,) = verdicts(curves(tried({LOW: [0.6] * 3, HIGH: [0.4] * 3}, claim), lead=HIGH))

    assert (verdict.decision, verdict.obstacle) == ("undecided", "no values")
    assert "is done with a validation accuracy at " in sentence(verdict)


def test_who_diverged_by_then_counts_at_chance_and_who_did_later_with_its_value(tried: Any) -> None:
    chance = AtChance(kind="at_chance", claim="c", a=HIGH, at=At(step=50))
    report = curves(tried({LOW: [0.6] * 3, HIGH: [0.1, 0.101, 0.1]}, chance), lead=HIGH)

    (before,) = verdicts(ended(report, outcome="diverged", steps=30))
    (after,) = verdicts(ended(report, outcome="diverged", steps=100))

    assert (before.decision, before.fell_out) == ("supported", {HIGH: FallenOut(3, 3)})
    assert (after.decision, after.fell_out) == ("refuted", {})


def test_a_loss_that_was_not_finite_at_the_moment_is_told(tried: Any) -> None:
    claim = EARLY.model_copy(update={"metric": "val/loss"})
    report = curves(tried({LOW: [0.6] * 3, HIGH: [0.4] * 3}, claim), lead=HIGH, name="val/loss")
    series = {**report.series, (0, "val/loss"): (np.array([50, 100]), np.array([np.inf, 1.0]))}

    (verdict,) = verdicts(replace(report, series=series))

    assert "1 trial had a validation loss at step 50 that is not finite" in sentence(verdict)


def test_the_curves_that_moments_need_are_read(tried: Any) -> None:
    claim = EARLY.model_copy(update={"metric": "train/loss"})

    assert metrics_needed(tried({LOW: [0.6]}, claim).study) == ["epoch", "train/loss", "val/accuracy"]
    assert metrics_needed(tried({LOW: [0.6]}, ABOVE).study) == []
