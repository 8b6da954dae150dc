"""Verdicts where runs fell out: the runs that trained are compared, and the others counted first."""

from dataclasses import replace
from typing import Any

import pytest
from support.studies import ABOVE, ALIKE, HIGH, LOW, MIDDLE

from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import Verdict, verdicts
from cifarsweep.report.summary import verdict_lines
from cifarsweep.report.verdict_text import sentence
from cifarsweep.spec.hypothesis import AtChance, Best, NotWorse, Reaches, Trend
from cifarsweep.stats.shares import Guess

#: Three seeds of ten equal classes decide on 10,000 images.
CIFAR10 = Guess(0.1, 10_000)
GOOD, BETTER = [0.900, 0.903, 0.897], [0.930, 0.932, 0.929]
DEAD = [0.1, 0.1, 0.1]
REACHES = Reaches(kind="reaches", claim="c", a=LOW, target=0.8)
AT_CHANCE = AtChance(kind="at_chance", claim="c", a=LOW)
NOT_WORSE = NotWorse(kind="not_worse", claim="c", a=HIGH, b=LOW, margin=0.01)
BEST = Best(kind="best", claim="c", factor="optimizer.lr", level=0.3)
RISES = Trend(kind="trend", claim="c", factor="optimizer.lr", direction="rising")


def found(tried: Any, values: Any, hypothesis: Any, guess: Guess = CIFAR10) -> Verdict:
    report = tried(values, hypothesis)
    (verdict,) = verdicts(replace(report, trials=tuple(replace(trial, guess=guess) for trial in report.trials)))
    return verdict


@pytest.mark.parametrize("dead", [0.1, 0.11, 0.02])
def test_one_dead_seed_changes_no_number_of_the_others(tried: Any, dead: float) -> None:
    with_it = found(tried, {LOW: [*GOOD, dead], MIDDLE: GOOD, HIGH: BETTER}, ABOVE)
    without = found(tried, {LOW: GOOD, MIDDLE: GOOD, HIGH: BETTER}, ABOVE)

    assert (with_it.decision, with_it.estimate, with_it.p) == ("supported", without.estimate, without.p)
    assert with_it.fell_out == {LOW: FallenOut(1, 4)} and without.fell_out == {}


@pytest.mark.parametrize(
    ("hypothesis", "expected"),
    [
        (ABOVE, "supported"),
        (ALIKE, "refuted"),
        (NOT_WORSE, "supported"),
        (REACHES, "refuted"),
        (AT_CHANCE, "supported"),
        (BEST, "supported"),
        (RISES, "supported"),
    ],
    ids=lambda part: getattr(part, "kind", None),
)
def test_a_cell_of_which_no_run_trained_stands_as_it_ended(tried: Any, hypothesis: Any, expected: str) -> None:
    dead = [value + 0.001 * seed for seed, value in enumerate(DEAD)]
    verdict = found(tried, {LOW: dead, MIDDLE: GOOD, HIGH: BETTER}, hypothesis)

    assert verdict.decision == expected, sentence(verdict)
    assert f"c: cell {LOW} does not train (all 3 runs fell out)" in sentence(verdict).replace(hypothesis.claim, "c")


@pytest.mark.parametrize("hypothesis", [ABOVE, ALIKE, NOT_WORSE, BEST, RISES], ids=lambda part: part.kind)
def test_what_never_trained_is_not_compared(tried: Any, hypothesis: Any) -> None:
    verdict = found(tried, {LOW: DEAD, MIDDLE: DEAD, HIGH: DEAD}, hypothesis)

    assert (verdict.decision, verdict.obstacle) == ("undecided", "none trained")
    assert "no run of any cell trained, so that there is nothing to compare." in sentence(verdict)


def test_equivalent_is_not_said_before_what_fell_out(tried: Any) -> None:
    report = tried({LOW: [*GOOD, 0.1], HIGH: [0.901, 0.902, 0.899, 0.9]}, ALIKE)
    told = replace(report, trials=tuple(replace(trial, guess=CIFAR10) for trial in report.trials))

    (line,) = verdict_lines(analyse(told))

    assert "equivalent within" in line
    assert line.index(f"of {LOW}, 1 of 4 runs fell out") < line.index("of the runs that trained") < line.index("equiv")


def test_a_guess_is_right_as_often_as_the_largest_class_is_met(tried: Any) -> None:
    """Nine of ten images belong to one class, and the images are noise: the net learned nothing."""
    guess = Guess(0.9, 200)
    values = {LOW: [0.9, 0.895, 0.9, 0.905, 0.9, 0.9, 0.9, 0.895], MIDDLE: GOOD, HIGH: BETTER}

    verdict = found(tried, values, AT_CHANCE, guess)

    assert (verdict.decision, verdict.chance) == ("supported", 0.9)
    assert "a guess, 90.0" in sentence(verdict)
