"""The work of new trials in lines."""

import pytest

from cifarsweep.analysis.workload import Workload
from cifarsweep.report.workload_text import workload_lines


def lines(trained_on=(), **changes):
    return [line.replace("\N{NARROW NO-BREAK SPACE}", " ") for line in workload_lines(Workload(**changes), trained_on)]


def test_a_study_of_its_own_says_what_it_trains():
    assert lines(trials=3, steps=117_600, left_steps=117_600, left_flops=100_000_000_000_000_000) == [
        "To train: 117,600 steps, 100 PFLOP"
    ]


def test_what_is_shared_and_how_long_the_rest_takes():
    work = {"shared_trials": 9, "shared_steps": 30_000, "left_steps": 70_000, "seconds": {"NVIDIA H200": 7260.0}}
    assert lines(trials=12, steps=100_000, **work) == [
        "9 trials take 30,000 steps from other trials, which train them anyway",
        "To train: 70,000 of 100,000 steps, about 2 h 01 min on NVIDIA H200 for one trial after the other, at the pace "
        "of these networks there",
    ]


def test_nothing_is_left_in_no_time():
    work = {"shared_trials": 5, "shared_steps": 3280, "left_steps": 0, "seconds": {"NVIDIA H200": 0.0}}
    assert lines(trials=5, steps=3280, **work)[-1] == "To train: 0 of 3,280 steps"


def test_what_is_trained_again_says_why():
    found = lines(trials=2, steps=100, missed_trials=1, missed_steps=40, left_steps=100)
    assert found[0] == (
        "1 trial trains 40 steps again that done trials have in common: no checkpoint for others is kept there, and "
        "the last one of a trial holds its own end"
    )


def test_what_is_known_names_device_and_versions():
    environment = {"device": "NVIDIA H200", "torch": "2.15.0", "cuda": "13.2", "python": "3.11.2"}
    found = lines([environment], trials=2, steps=10, known=1, lost=1, shared_trials=1, shared_steps=1, left_steps=5)
    assert found[:3] == [
        "1 trial was trained before, on NVIDIA H200 with torch 2.15.0, cuda 13.2: workers with that device and these "
        "versions take the results, others train them again",
        "1 trial was trained before and will be again: nobody can take its result, since device or versions changed "
        "on the way, or an earlier cifarsweep trained it",
        "1 trial takes 1 step from other trials, which train them anyway",
    ]


def test_many_environments_are_counted():
    many = [{"device": f"d{number}"} for number in range(5)] + [{"device": ""}]
    (first, _) = lines(many, trials=9, steps=9, known=9)
    assert first.startswith("9 trials were trained before, on d0 or d1 or d2 or 3 others: ")
    assert "on a device that nobody wrote down:" in lines([{}], trials=9, steps=9, known=9)[0]


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (1_070_000_000_000, "1.07 TFLOP"),
        (2 * 10**14, "0.2 PFLOP"),
        (1234 * 10**15, "1,234 PFLOP"),
        (44 * 10**9, "44 GFLOP"),
    ],
)
def test_arithmetic_has_a_unit_that_fits(flops, text):
    assert lines(trials=1, steps=1, left_steps=1, left_flops=flops) == [f"To train: 1 step, {text}"]
