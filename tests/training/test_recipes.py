"""What a recipe changes in a trial: its rate, its targets, its best weights and where it stops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stripes import CLASSES, TINY, bits, finished, rows
from torch import nn
from torch.nn import functional

from cifarsweep.spec.settings import Augment, EarlyStop, Optimizer, Schedule
from cifarsweep.training.early_stopping import EarlyStopping
from cifarsweep.training.loop import train
from cifarsweep.training.meters import Meter
from cifarsweep.training.serialization import load
from cifarsweep.training.state import TrainState, Trial

CPU = torch.device("cpu")


def change(**changes):
    return TINY.model_copy(update=changes)


@pytest.mark.parametrize(("scaling", "factor"), [("linear", 1 / 4), ("sqrt", 1 / 2)])
def test_the_logged_rate_is_scaled_and_phased(bench, scaling, factor):
    optimizer = Optimizer(lr=1e-2, scaling=scaling, base_batch=64)
    table = rows(bench.events(change(optimizer=optimizer, schedule=Schedule(phases=("1-2 x5",)))))
    assert [table["lr", step] for step in (4, 6, 8, 12)] == pytest.approx([1e-2 * factor * x for x in (1, 1, 5, 5)])


@pytest.mark.parametrize(
    "augment",
    [
        Augment(crop=2, randaugment=2),
        Augment(crop=2, cutout=8),
        Augment(crop=2, erasing=0.5),
        Augment(crop=2, mixup=0.4),
        Augment(crop=2, cutmix=1.0),
        Augment(crop=2, label_smoothing=0.1),
    ],
)
def test_each_option_changes_training_and_still_learns(bench, augment):
    plain, found = bench.events(), bench.events(change(augment=augment, epochs=8))
    assert bits(found)["train/loss", 4] != bits(plain)["train/loss", 4]
    assert finished(found).result.final["val/accuracy"] > 0.5


def test_clipping_limits_what_a_step_does(bench):
    sgd = Optimizer(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, clip=1e-3)
    state = TrainState(Trial(change(optimizer=sgd), 0, CLASSES, CPU, "", 0))
    before = torch.cat([p.detach().flatten().clone() for p in state.model.parameters()])
    state.compute(torch.randn(8, 3, 32, 32), torch.arange(8) % CLASSES)
    after = torch.cat([p.detach().flatten() for p in state.model.parameters()])
    assert float((after - before).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_smoothed_and_mixed_targets_are_those_of_torchs_loss(bench):
    state = TrainState(Trial(change(augment=Augment(label_smoothing=0.2)), 0, CLASSES, CPU, "", 0))
    state.model.eval()  # the same logits again
    images, targets = torch.randn(8, 3, 32, 32), torch.rand(8, CLASSES).softmax(1)
    logits = state.model(images).detach()
    state.compute(images, targets)
    state.count(8)
    smoothed = targets * 0.8 + 0.2 / CLASSES
    expected = -(functional.log_softmax(logits, 1) * smoothed).sum(1).mean().item()
    assert state.meter.read().loss == pytest.approx(expected, rel=1e-5)


def test_training_accuracy_of_mixed_images_counts_the_likelier_class():
    meter, logits = Meter(CPU), torch.eye(3)
    meter.add(torch.tensor(1.0), logits, torch.tensor([[0.6, 0.4, 0], [0.6, 0.4, 0], [0, 0, 1.0]]))
    assert meter.read().accuracy == pytest.approx(2 / 3)


def test_the_best_weights_are_in_the_checkpoint(bench):
    settings = change(keep_best=True, epochs=6, eval_every=3, optimizer=Optimizer(lr=0.1))
    run = bench.run(settings)
    events = list(train(run))
    table, final = rows(events), finished(events).result.final
    accuracies = {step: value for (name, step), value in table.items() if name == "val/accuracy"}
    best = max(accuracies, key=accuracies.__getitem__)  # the first among equals
    assert (final["best/accuracy"], final["best/step"]) == (accuracies[best], best)
    assert best != max(accuracies), "nothing is tested where the last step is the best"

    model = TrainState(Trial(settings, 0, CLASSES, CPU, "", 0)).model.eval()
    model.load_state_dict(load(run.folder, finished(events).checkpoint)["watch"]["weights"])
    with torch.no_grad():
        logits = model((bench.split.val_images / 255 - 0.5) / 0.25)
    assert (logits.argmax(1) == bench.split.val_labels).float().mean().item() == pytest.approx(accuracies[best])


def test_options_that_are_off_leave_no_trace(bench):
    run = bench.run()
    events = list(train(run))
    assert not {"best/accuracy", "best/step", "early_stopped_at"} & set(finished(events).result.final)
    assert "watch" not in load(run.folder, finished(events).checkpoint)


def test_a_trial_stops_where_its_accuracy_no_longer_rises(bench):
    settings = change(epochs=50, early_stop=EarlyStop(patience=2, min_delta=1.0))  # nothing rises by more than 1
    events = bench.events(settings)
    result = finished(events).result
    assert result.step == result.final["early_stopped_at"] == 18  # the first evaluation, and two that are no better
    assert ("val/accuracy", 18) in rows(events)
    whole = bench.events(change(epochs=50, early_stop=EarlyStop(patience=2, min_delta=1.0), keep_best=True))
    assert bits(whole) == bits(events)


def follow(accuracies, budget=None, **rule):
    stopping = EarlyStopping(change(early_stop=EarlyStop(**rule), keep_best=True))
    model = nn.Linear(1, 1)
    for number, accuracy in enumerate(accuracies, start=1):
        model.weight.data.fill_(number)
        stopping.update(accuracy, number, model, last=number == (budget or len(accuracies) + 1))
        if stopping.stopped:
            break
    return stopping


@given(st.lists(st.integers(0, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=20), st.integers(1, 5))
def test_patience_counts_evaluations_since_the_last_rise(accuracies, patience):
    found = follow(accuracies, patience=patience).final()
    rises = [n for n, value in enumerate(accuracies) if value > max(accuracies[:n], default=-1)]
    ends = [*rises[1:], len(accuracies)]
    stop = next((rise + patience for rise, end in zip(rises, ends, strict=True) if end - rise > patience), None)
    assert found.get("early_stopped_at") == (None if stop is None else stop + 1)
    seen = accuracies if stop is None else accuracies[: stop + 1]
    assert (found["best/accuracy"], found["best/step"]) == (max(seen), seen.index(max(seen)) + 1)


def test_small_rises_do_not_count_but_add_up():
    assert not follow([0.5, 0.52, 0.54, 0.56, 0.58], patience=3, min_delta=0.05).stopped
    assert follow([0.5, 0.52, 0.54, 0.55], patience=3, min_delta=0.05).final()["early_stopped_at"] == 4


def test_the_end_of_the_budget_is_no_early_stop():
    stopping = follow([0.5, 0.5, 0.5], budget=3, patience=2)
    assert not stopping.stopped and "early_stopped_at" not in stopping.final()


def test_a_diverged_trial_has_the_best_of_before(bench):
    stopping = follow([0.25, 0.75])
    assert stopping.final()["best/accuracy"] == 0.75
    settings = change(optimizer=Optimizer(name="sgd", lr=1e30), keep_best=True)
    final = finished(bench.events(settings)).result.final
    assert "best/accuracy" not in final and math.isnan(final["train/loss"])
