"""Numbers are rounded to what is known, with their units."""

from datetime import UTC, datetime

import pytest

from cifarsweep.formatting import (
    duration,
    interval_text,
    keep_together,
    magnitude,
    margin_text,
    mean_text,
    plural,
    range_text,
    timestamp,
    value_text,
)
from cifarsweep.stats import summary

ACCURACY, LOSS = "val/accuracy", "val/loss"


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2212", "-")


def test_accuracy_is_in_per_cent_with_its_interval() -> None:
    found = summary([0.90, 0.92, 0.94])

    assert plain(mean_text(found, ACCURACY)) == "92.0 ± 5.0 %"
    assert plain(interval_text(found, ACCURACY)) == "87.0 to 97.0 %"
    assert plain(range_text(found, ACCURACY)) == "90.0 to 94.0 %"


def test_a_narrow_interval_has_a_digit_more() -> None:
    assert plain(mean_text(summary([0.9, 0.9001, 0.9002]), ACCURACY)) == "90.01 ± 0.02 %"


def test_seeds_that_lie_far_apart_are_shown_as_their_range() -> None:
    """Student's t would reach from below 0 to above 100 %; of a program's own metric nobody knows the bounds."""
    found = summary([0.1, 0.9, 0.91])

    assert plain(mean_text(found, ACCURACY)) == "63.7 % (10.0 to 91.0 %)"
    assert interval_text(found, ACCURACY) == "\u2013"
    assert plain(mean_text(found, LOSS)) == "0.6367 (0.1 to 0.91)"
    assert plain(mean_text(found, "bleu")).startswith("0.64 ± 1.2")


def test_two_seeds_are_shown_as_their_range() -> None:
    assert plain(mean_text(summary([0.9, 0.91]), ACCURACY)) == "90.5 % (90.0 to 91.0 %)"
    assert plain(mean_text(summary([0.9, 0.91, 0.92]), ACCURACY)) == "91.0 ± 2.5 %"


def test_one_seed_has_no_interval() -> None:
    found = summary([0.9])

    assert plain(mean_text(found, ACCURACY)) == "90.0 %"
    assert interval_text(found, ACCURACY) == "–"
    assert plain(range_text(found, ACCURACY)) == "90.0 %"


def test_other_metrics_keep_their_unit() -> None:
    assert plain(mean_text(summary([-0.5]), LOSS)) == "-0.5"
    assert margin_text(0.25, LOSS) == "0.25"


@pytest.mark.parametrize(("margin", "text"), [(0.01, "1 point"), (0.005, "0.5 points"), (0.1, "10 points")])
def test_margins_of_accuracy_are_in_points(margin: float, text: str) -> None:
    assert margin_text(margin, ACCURACY) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1 min 01 s"), (3599.7, "1 h 00 min"), (7384, "2 h 03 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert plain(duration(seconds)) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (11.174e6, "11.2 M"), (1.11e9, "1.11 G"), (950, "950")])
def test_magnitudes(value: float | None, text: str) -> None:
    assert plain(magnitude(value)) == text


def test_counts_and_moments() -> None:
    assert (plural(1, "trial"), plural(12_000, "trial")) == ("1 trial", "12,000 trials")
    assert timestamp(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2026-01-02 03:04 UTC"
    assert timestamp(None) == "–"


def test_no_line_ends_within_a_mean_or_before_its_unit() -> None:
    text = keep_together(f"it is {mean_text(summary([0.90, 0.92, 0.94]), ACCURACY)}, 95 % interval 1 to 2")

    assert text == "it is 92.0\u202f±\u202f5.0\u202f%, 95\u202f% interval 1 to 2"


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (1.401234, 0.04489, "1.401"),
        (2.6162, 0.1074, "2.62"),
        (0.0213, 15.0, "0.021"),
        (123456.7, 123.0, "123457"),
        (-1.2154, 0.0927, "\N{MINUS SIGN}1.215"),
        (1e7, 5.0, "1e+07"),
        (2e-9, 1e-10, "2e\N{MINUS SIGN}09"),
        (0.5, 0.0, "0.5"),
        (1.23456, None, "1.235"),
    ],
)
def test_a_number_has_two_digits_of_its_interval(value: float, half: float | None, text: str) -> None:
    assert value_text(value, LOSS, half) == text
