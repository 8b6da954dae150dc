"""Hypotheses that are one test count once, and a page says so."""

from typing import Any

import pytest
from support.studies import FAR, HIGH, LOW

from cifarsweep.analysis.families import one_test
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.notes import figure_notes, one_test_notes
from cifarsweep.report.verdict_text import sentence
from cifarsweep.spec.hypothesis import Best, Equivalent, Greater, Trend

SKIP, PLAIN = {"model.skip": True}, {"model.skip": False}
HELPS = Greater(kind="greater", claim="A skip connection helps.", a=SKIP, b=PLAIN)
HURTS = Greater(kind="greater", claim="It hurts", a=PLAIN, b=SKIP)
BEST = Best(kind="best", claim="Skip is best", factor="model.skip", level=True)
RISES = Trend(kind="trend", claim="It rises", factor="model.skip", direction="rising")
MUCH = HELPS.model_copy(update={"claim": "It helps by a point", "margin": 0.01})
SAME = Equivalent(kind="equivalent", claim="It makes no difference", a=SKIP, b=PLAIN, margin=0.01)


@pytest.mark.parametrize(
    ("hypotheses", "groups"),
    [
        ((HELPS, BEST, RISES, HURTS), [(HELPS, BEST, RISES, HURTS)]),
        ((HELPS, MUCH, SAME), []),
        ((HELPS, SAME, BEST), [(HELPS, BEST)]),
        ((MUCH, MUCH.model_copy(update={"claim": "again"})), [(MUCH, MUCH.model_copy(update={"claim": "again"}))]),
        ((HELPS, BEST.model_copy(update={"metric": "val/loss"})), []),
    ],
)
def test_which_of_two_cells_is_above_is_one_test(make: Any, hypotheses: Any, groups: Any) -> None:
    study = make.study({"model.skip": (False, True)}, hypotheses=hypotheses)

    assert one_test(study) == groups


def test_levels_of_three_are_tests_of_their_own(make: Any) -> None:
    top = Best(kind="best", claim="c", factor="optimizer.lr", level=0.2)
    rises = Trend(kind="trend", claim="d", factor="optimizer.lr", direction="rising")

    assert one_test(make.study({"optimizer.lr": (0.1, 0.2, 0.3)}, hypotheses=(top, rises))) == []


def test_one_test_counts_once(tried: Any) -> None:
    above = Greater(kind="greater", claim="High is above low", a=HIGH, b=LOW)
    below = Greater(kind="greater", claim="Low is above high", a=LOW, b=HIGH)

    (alone,), (both, mirrored) = verdicts(tried(FAR, above)), verdicts(tried(FAR, above, below))

    assert (both.p, both.corrected, both.tested) == (alone.p, alone.corrected, 1) and "corrected" not in sentence(both)
    assert (mirrored.decision, mirrored.corrected) == ("refuted", pytest.approx(both.corrected))


def test_a_page_says_so(make: Any) -> None:
    words = "“A skip connection helps” and “Skip is best” are one test, and count once"
    study = make.study({"model.skip": (False, True)}, hypotheses=(HELPS, SAME, BEST))

    assert one_test_notes(study)[0].startswith(words)
    assert words in " ".join(figure_notes(make.finished(study), []))
