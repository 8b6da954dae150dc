"""Where validation images are held out, the test set is evaluated once, after the last step."""

import base64
import itertools
from dataclasses import replace

import numpy as np
import pytest
from stripes import TINY, bits, finished, rows, stripes

from cifarsweep.spec.settings import EarlyStop, Optimizer
from cifarsweep.training.events import Metrics, Saved, Stopped
from cifarsweep.training.loop import train

TEST = ("test/accuracy", "test/loss")
BEST = ("best/test_accuracy", "best/test_loss")
KEEP_BEST = TINY.model_copy(update={"keep_best": True, "optimizer": Optimizer(lr=0.1), "epochs": 3})


@pytest.fixture
def held_out(bench):
    """A bench with a test set of its own: 28 images, one batch."""
    images, labels = stripes(28, seed=3)
    bench.split = replace(bench.split, test_images=images, test_labels=labels)
    return bench


def share(hits):
    packed = np.frombuffer(base64.b64decode(hits.packed), np.uint8)
    return np.unpackbits(packed, count=hits.images).mean()


def test_the_test_set_is_evaluated_at_the_last_step_alone(held_out):
    events = held_out.events()

    table, result = rows(events), finished(events).result
    assert [key for key in table if key[0] in TEST] == [("test/loss", 12), ("test/accuracy", 12)]
    assert {name: result.final[name] for name in TEST} == {name: table[name, 12] for name in TEST}
    assert not set(BEST) & set(result.final)


def test_it_leaves_weights_and_all_other_rows_as_they_are(held_out):
    with_test = held_out.events(KEEP_BEST)
    held_out.split = replace(held_out.split, test_images=None, test_labels=None)
    without = held_out.events(KEEP_BEST)

    assert {key: value for key, value in bits(with_test).items() if key[0] not in TEST} == bits(without)
    assert finished(with_test).result.weights_sha256 == finished(without).result.weights_sha256
    assert not {*TEST, *BEST} & set(finished(without).result.final)


@pytest.mark.parametrize("settings", [KEEP_BEST, KEEP_BEST.model_copy(update={"early_stop": EarlyStop(patience=1)})])
def test_on_the_images_that_validate_it_gives_what_these_gave(held_out, settings):
    split = held_out.split
    held_out.split = replace(split, test_images=split.val_images, test_labels=split.val_labels)

    final = finished(held_out.events(settings)).result.final

    assert [final[name] for name in TEST] == [final[name] for name in ("val/accuracy", "val/loss")]
    assert final["best/test_accuracy"] == final["best/accuracy"]


def test_hits_are_those_of_the_last_evaluations(held_out):
    result = finished(held_out.events()).result

    assert {name: (hits.images, share(hits)) for name, hits in result.hits.items()} == {
        "val/accuracy": (40, result.final["val/accuracy"]),
        "test/accuracy": (28, result.final["test/accuracy"]),
    }


def test_a_trial_that_diverged_counts_as_a_guess_and_has_no_hits(held_out):
    diverging = TINY.model_copy(update={"optimizer": Optimizer(name="sgd", lr=1e30)})

    result = finished(held_out.events(diverging)).result

    assert result.final["test/accuracy"] == result.final["val/accuracy"] == 0.25
    assert np.isnan(result.final["test/loss"])
    assert result.hits == {}


@pytest.mark.parametrize("calls", [0, 1], ids=["the last weights", "the best weights"])
def test_a_stop_inside_it_leaves_no_checkpoint_behind_and_loses_nothing(held_out, calls):
    whole, folder = held_out.events(KEEP_BEST), held_out.folder()
    # Asked before each of 18 steps and 6 rows, and once in each of 3 evaluations and of 2 tests.
    asked = itertools.count()
    attempt = train(
        held_out.run(KEEP_BEST, folder=folder, first_save_s=0.0, should_stop=lambda: next(asked) >= 27 + calls)
    )
    first = list(attempt)

    saved = [event.checkpoint for event in first if isinstance(event, Saved)]
    assert first[-1] == Stopped(18) and not isinstance(first[-2], Saved)
    assert not any(name in TEST for name, _ in rows(first))
    second = held_out.events(KEEP_BEST, folder=folder, resume=saved[-1:])
    kept = {key: value for key, value in bits(first).items() if key[1] <= saved[-1].step}
    assert kept | bits(second) == bits(whole)
    assert finished(second).result.hits == finished(whole).result.hits


def test_killed_around_it_the_rows_come_once(held_out):
    whole = held_out.events(KEEP_BEST)
    tested = next(
        place for place, event in enumerate(whole) if isinstance(event, Metrics) and event.rows[0].name in TEST
    )
    for events in (tested, tested + 1, tested + 3):
        folder = held_out.folder()
        attempt = train(held_out.run(KEEP_BEST, folder=folder))
        first = list(itertools.islice(attempt, events))
        attempt.close()
        saved = [event.checkpoint for event in first if isinstance(event, Saved)]
        second = held_out.events(KEEP_BEST, folder=folder, resume=saved[-1:])

        kept = {key: value for key, value in bits(first).items() if saved and key[1] <= saved[-1].step}
        assert not set(kept) & set(bits(second))
        assert kept | bits(second) == bits(whole)
        assert finished(second).result.hits == finished(whole).result.hits
        assert {name: finished(second).result.final[name] for name in (*TEST, *BEST)} == {
            name: finished(whole).result.final[name] for name in (*TEST, *BEST)
        }
