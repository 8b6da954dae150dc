"""A verdict in words, of numbers that are given."""

from typing import Any

import pytest
from support.studies import ABOVE, ALIKE, FIRST, HIGH, LOW

from cifarsweep.analysis.confounds import UnlikeTimes
from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.side_results import SideResult
from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.report.verdict_text import hypothesis_view, sentence, sentence_and_warning, warning
from cifarsweep.spec.hypothesis import AtChance, Best, Reaches, Trend
from cifarsweep.stats import Interval, summary
from cifarsweep.stats.hits import NewImages

AT_CHANCE = AtChance(kind="at_chance", claim="Low does not train", a=LOW)
REACHES = Reaches(kind="reaches", claim="High is as published", a=HIGH, target=0.9, margin=0.05)
BEST = Best(kind="best", claim="0.3 is the best rate", factor="optimizer.lr", level=0.3)
RISES = Trend(kind="trend", claim="Larger rates are better", factor="optimizer.lr", direction="rising")


def side(label: str, *values: float, **changes: Any) -> SideResult:
    found = summary(values) if values else None
    return SideResult(label=label, cells=(label,), value=found, seeds=len(values), **changes)


def verdict(hypothesis: Any, *sides: SideResult, **changes: Any) -> Verdict:
    """Three seeds a cell that support the hypothesis."""
    fields: dict[str, Any] = {
        "decision": "supported", "obstacle": None, "levels": len(sides), "matched": True, "estimate": 0.05,
        "interval": Interval(0.04, 0.06), "decisive": Interval(0.03, 0.07), "effect": 2.0, "method": "Welch",
        "floored": False, "p": 0.01, "corrected": 0.01, "tested": 1, "looks": 1, "level": 0.05, "seeds": 3,
        "more_seeds": None, "more_seeds_range": None, "cells": (HIGH, LOW), "open_trials": 0,
        "preliminary": False, "not_finite": 0,
        "fell_out": {}, "chance": None, "unlike_times": None, "new_images": None,
    }  # fmt: skip
    return Verdict(hypothesis=hypothesis, sides=sides, **(fields | changes))


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


FAILED = side(LOW, 0.1, 0.1, 0.1)
A, B = side(HIGH, 0.85, 0.86, 0.855), side(LOW, 0.80, 0.81, 0.805)


def test_a_sentence_has_the_means_the_finding_the_time_and_how_sure_it_is() -> None:
    found = verdict(ALIKE, A, B, estimate=0.0013, interval=Interval(-0.0028, 0.0001), corrected=0.0015)

    assert plain(sentence(found)) == (
        "High matches low: 85.5 ± 1.2 % against 80.5 ± 1.2 %, equivalent within 1 point "
        "(difference 0.13 points, 95 % interval −0.28 to 0.01; p = 0.0015; 3 seeds)."
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (verdict(ABOVE, A, B, decision="refuted"), "Refuted: High is above low: 85.5 ± 1.2 % against 80.5 ± 1.2 %, b"),
        (verdict(ABOVE, A, B, decision="undecided", more_seeds=4, more_seeds_range=(2, 9)), "2 to 9 more seeds to"),
        (verdict(ABOVE, A, B, decision="undecided", more_seeds=9, more_seeds_range=(4, None)), "at least 4 more"),
        (verdict(ABOVE, A, B, decision="undecided", more_seeds=0), "no more seeds than those waiting to decide it"),
        (verdict(ABOVE, A, B, decision="undecided"), "it takes more than 200 seeds."),
        (verdict(ABOVE, A, B, decision="undecided", seeds=1), "One seed is never enough: at least 3."),
        (verdict(ABOVE, A, B, decision="undecided", seeds=2), "; no test with fewer than 3 seeds; 2 seeds)"),
        (verdict(ABOVE, A, B, tested=3, looks=2, level=0.025), "p = 0.01 corrected for 3 tests and 2 looks"),
        (verdict(ABOVE, A, B, corrected=1e-9), "p < 0.001; 3 seeds)."),
        (verdict(ABOVE, A, B, open_trials=4), "; 4 trials of the next look not finished)."),
        (
            verdict(ABOVE, A, B, decision="refuted", tested=2),
            "p = 0.01 of the test for “below”, corrected for 2 tests; 3 seeds).",
        ),
        (verdict(REACHES, A, decision="refuted"), "p = 0.01 of the test for “does not reach 85.0 %,"),
        (
            verdict(ABOVE, A, B, decision="undecided", decisive=Interval(-0.01361, 0.0025)),
            "It costs at most 1.4 points and gains at most 0.3. If the truth",
        ),
        (verdict(ABOVE, A, B, decision="undecided"), "It gains 3.0 to 7.0 points. "),
        (verdict(REACHES, A, decision="undecided", decisive=Interval(0.8, 1.2)), "The mean is 80.0 % to 100.0 %. "),
        (
            verdict(ABOVE, A, B, interval=Interval(-0.8, 1.2), decisive=Interval(-1.1, 1.4), decision="undecided"),
            "95 % interval −80.0 to 100.0; p = 0.01; 3 seeds). If the truth",
        ),
        (verdict(REACHES, A, decisive=Interval(-0.1, 1.4), decision="undecided"), "3 seeds). If the truth"),
        (verdict(RISES, B, A, decision="undecided", decisive=Interval(-2, -0.01)), "It falls 1.0 to 100.0 points per"),
        (verdict(FIRST, A, B, decision="undecided", decisive=Interval(0.5, 2)), "It takes 0.5 to 2 times as long. "),
        (
            verdict(AT_CHANCE, FAILED, chance=0.1, fell_out={LOW: FallenOut(2, 3)}),
            "train: of lr=0.1, 2 of 3 runs fell out (up to 98 % may); 10.0 %, within 2 points of a guess, 10.0 %",
        ),
        (
            verdict(ALIKE, A, B, fell_out={LOW: FallenOut(1, 4)}),
            "low: of lr=0.1, 1 of 4 runs fell out (up to 75 % may); of the runs that trained, 85.5 ± 1.2 % against",
        ),
        (
            verdict(ABOVE, A, FAILED, fell_out={LOW: FallenOut(3, 3)}),
            "low: cell lr=0.1 does not train (all 3 runs fell out); 85.5 ± 1.2 % against 10.0 %, above (",
        ),
        (verdict(REACHES, A), "which reaches 85.0 %, which is 90.0 % less 5 points (95 % interval 4."),
        (verdict(BEST, A, B, levels=3), "% at lr=0.3 against 80.5 ± 1.2 % at lr=0.1, the highest of 3 levels"),
        (verdict(BEST, A, B, decision="refuted"), ", below lr=0.1 ("),
        (verdict(RISES, B, A), "on average rising along these levels (rises by 5.00 points per level, 95 % interval 4"),
        (verdict(FIRST, A, B, estimate=0.5), "80.0 % after 0.5 of the training time, sooner (ratio 0.5"),
    ],
)  # fmt: skip
def test_every_kind_and_every_finding_has_its_words(found: Verdict, words: str) -> None:
    assert words in plain(sentence(found))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            NewImages(Interval(-0.0033, 0.0125), wider=True, limit=0.0062),
            "For new images too the 95 % interval is −0.33 to 1.25, and more seeds don't shrink it to less than "
            "±0.62 points.",
        ),
        (
            NewImages(Interval(0.04, 0.06), wider=False, limit=0.001),
            "For new images too the 95 % interval is 4.00 to 6.00.",
        ),
        (
            NewImages(Interval(-0.019, 0.186), wider=True, limit=0.0004),
            "For new images too the 95 % interval is −1.9 to 18.6.",
        ),
    ],
)
def test_the_interval_for_new_images_ends_the_sentence(found: NewImages, words: str) -> None:
    for decision in ("supported", "undecided"):
        said = plain(sentence(verdict(ABOVE, A, B, decision=decision, new_images=found)))

        assert said.rpartition(". ")[2].startswith("For new images") and words in said


def test_what_is_preliminary_names_no_p() -> None:
    found = verdict(ABOVE, A, B, decision="undecided", preliminary=True, open_trials=1, p=1.0, corrected=1.0)

    assert "no verdict before all of its trials are finished, and 1 is not." in sentence(found)
    assert "difference 5.00 points" in plain(sentence(found)) and "p =" not in sentence(found)


def test_seeds_that_the_measurement_can_not_tell_apart_are_said_to_be() -> None:
    found = verdict(AT_CHANCE, side(LOW, 0.1, 0.1, 0.1), floored=True, interval=Interval(0.093, 0.107), chance=0.1)

    words = "(95 % interval 9.3 % to 10.7 %; seeds of a cell closer together than the measurement can tell; p = 0.01"
    assert words in plain(sentence(found))


def test_a_target_that_some_did_not_reach_is_counted() -> None:
    sides = [SideResult(label=cell, cells=(cell,), seeds=6, reached=reached) for cell, reached in ((HIGH, 6), (LOW, 0))]
    found = verdict(FIRST, *sides, estimate=None, interval=None, seeds=6)

    assert plain(sentence(found)) == (
        "High is there first: 80.0 % was reached by 6 of 6 seeds against 0 of 6, sooner (p = 0.01; 6 seeds)."
    )


@pytest.mark.parametrize(
    ("hypothesis", "changes", "words"),
    [
        (AT_CHANCE, {"obstacle": "classes unknown"}, "what a guess would give on the images is not known here, or "),
        (ABOVE, {"obstacle": "none trained"}, "no run of any cell trained, so that there is nothing to compare."),
        (ABOVE, {"obstacle": "no values"}, "not every cell that it needs is done with a validation accuracy."),
        (ABOVE, {"obstacle": "not finite", "not_finite": 1}, "1 trial ended with a validation accuracy that is not"),
        (ABOVE, {"obstacle": "no shared seeds"}, "the cells that it compares have no seed in common."),
        (RISES, {"obstacle": "no counterparts", "matched": False}, "no cells of the levels differ in optimizer.lr"),
    ],
)  # fmt: skip
def test_what_can_not_be_tested_says_why(hypothesis: Any, changes: Any, words: str) -> None:
    found = verdict(hypothesis, A, B, decision="undecided", seeds=0, **changes)

    assert sentence(found).startswith(f"Undecided: {hypothesis.claim}: {words}")


def test_cells_without_counterparts_are_compared_with_a_warning() -> None:
    many = SideResult(label="skip=yes", cells=("lr=1, skip=yes", "lr=2, skip=yes"), value=summary([0.9, 0.8]), seeds=2)
    found = verdict(ABOVE, many, B, matched=False)

    words = "the mean of 2 cells against one other, which differ in more than the claim names"
    assert words in sentence(found) and f"Careful: {words}." in hypothesis_view(found, [])["test"]


@pytest.mark.parametrize(
    ("unlike", "words"),
    [
        (UnlikeTimes(devices=("T4", "cpu")), "on different devices (T4, cpu)."),
        (UnlikeTimes(slots=(1.0, 8.0)), "while different numbers of trials shared the device (1.0 to 8.0)."),
    ],
)
def test_times_that_were_measured_differently_get_a_warning(unlike: UnlikeTimes, words: str) -> None:
    found = verdict(FIRST, A, B, unlike_times=unlike)

    assert warning(found) == f"Careful: these times were measured {words}"
    assert sentence_and_warning(found) == f"{sentence(found)} {warning(found)}"
    assert warning(verdict(FIRST, A, B)) == ""


@pytest.mark.parametrize(("target", "text"), [(0.9545, "95.45"), (0.95, "95.0"), (0.954321, "95.4321")])
def test_a_target_has_all_its_digits(target: float, text: str) -> None:
    claim = Reaches(kind="reaches", claim="c", a=LOW, target=target)

    assert f"which reaches {text} %" in plain(sentence(verdict(claim, B)))
    assert f"at least {text} %" in plain(hypothesis_view(verdict(claim, B), [])["test"])
