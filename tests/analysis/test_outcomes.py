"""Runs that fell out are told from those that trained."""

from dataclasses import replace
from typing import Any

import pytest

from cifarsweep.analysis.outcomes import compared_runs, fallen_out
from cifarsweep.stats.shares import Guess

CIFAR10 = Guess(0.1, 10_000)


@pytest.mark.parametrize(
    ("accuracy", "guess", "changes", "fell_out"),
    [
        (0.100, CIFAR10, {}, True),
        (0.114, CIFAR10, {}, True),
        (0.117, CIFAR10, {}, False),
        (0.050, CIFAR10, {}, True),
        (0.900, Guess(0.9, 200), {}, True),  # nine of ten images belong to one class
        (0.990, Guess(0.9, 200), {}, False),
        (0.100, None, {}, False),
        (0.100, Guess(0.1, None), {}, False),
        (0.100, None, {"outcome": "diverged"}, True),
        (0.100, CIFAR10, {"outcome": "pruned"}, False),
        (0.100, CIFAR10, {"state": "failed"}, False),
    ],
)
def test_a_run_fell_out_if_it_diverged_or_is_no_better_than_a_guess(
    make: Any, accuracy: float, guess: Guess | None, changes: Any, fell_out: bool
) -> None:
    trial = make.trial(0, "a", 0, final={"val/accuracy": accuracy}, guess=guess, **changes)

    assert trial.fell_out is fell_out


def test_the_runs_that_trained_are_compared_and_the_others_counted(make: Any) -> None:
    values = [0.9, 0.1, 0.91, 0.92]
    trials = [make.trial(n, "a", n, final={"val/accuracy": value}, guess=CIFAR10) for n, value in enumerate(values)]

    assert [trial.seed for trial in compared_runs(trials)] == [0, 2, 3]
    found = fallen_out(trials)
    assert (found.count, found.of, found.every) == (1, 4, False)
    assert found.at_most == pytest.approx(0.751, abs=0.001)


def test_a_cell_that_does_not_train_stands_as_it_ended(make: Any) -> None:
    trials = [make.trial(n, "a", n, final={"val/accuracy": 0.1}, outcome="diverged") for n in range(3)]

    assert compared_runs(trials) == trials and fallen_out(trials).every
    assert not fallen_out([]).every
    one_trained = replace(trials[0], outcome="finished", final={"val/accuracy": 0.9})
    assert compared_runs([one_trained, *trials[1:]]) == [one_trained]
