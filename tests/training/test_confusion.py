"""Which class was taken for which is recorded once, at the last evaluation, and agrees with the accuracy."""

import pytest
import torch
from stripes import CLASSES, TINY, finished, rows

from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.settings import EarlyStop, Optimizer
from cifarsweep.training.meters import Confusion


def counts(events):
    """The counts by (true, guessed) class, and the steps at which they stand."""
    found = {key: value for key, value in rows(events).items() if key[0].startswith(CONFUSION)}
    pairs = {tuple(map(int, name.removeprefix(CONFUSION).split("/"))): value for (name, _), value in found.items()}
    return pairs, {step for _, step in found}


def test_every_validation_image_is_counted_and_hits_are_the_accuracy(bench):
    events = bench.events()

    pairs, steps = counts(events)

    assert steps == {12}
    assert 0 not in pairs.values()
    assert [sum(n for (true, _), n in pairs.items() if true == label) for label in range(CLASSES)] == [10] * CLASSES
    assert sum(n for (true, guess), n in pairs.items() if true == guess) / 40 == rows(events)["val/accuracy", 12]


def test_an_early_stop_is_a_last_evaluation_too(bench):
    events = bench.events(TINY.model_copy(update={"epochs": 9, "early_stop": EarlyStop(patience=1, min_delta=1.0)}))

    pairs, steps = counts(events)

    assert steps == {finished(events).result.step} == {12}
    assert sum(pairs.values()) == 40


def test_a_diverged_trial_has_none(bench):
    events = bench.events(TINY.model_copy(update={"optimizer": Optimizer(name="sgd", lr=1e30)}))

    assert finished(events).result.outcome == "diverged"
    assert counts(events) == ({}, set())


@pytest.mark.parametrize("batches", [1, 3])
def test_counts_are_those_of_the_guesses(batches):
    labels = torch.tensor([0, 0, 99, 99, 5, 99])
    guesses = torch.tensor([0, 7, 99, 5, 5, 99])
    confusion = Confusion(100)
    for part in range(batches):
        confusion.add(torch.nn.functional.one_hot(guesses[part::batches], 100).float(), labels[part::batches])

    found = {row.name.removeprefix(CONFUSION): (row.step, row.value) for row in confusion.rows(8)}

    assert found == {"0/0": (8, 1.0), "0/7": (8, 1.0), "5/5": (8, 1.0), "99/5": (8, 1.0), "99/99": (8, 2.0)}
