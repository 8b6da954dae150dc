import itertools
import math
import time
from dataclasses import replace

import pytest
import torch
from stripes import CLASSES, TINY, bits, finished, rows
from torch import nn

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import DeviceError, SpecError
from cifarsweep.models import cost
from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.settings import ConvNet, Optimizer, Schedule
from cifarsweep.spec.types import Outcome
from cifarsweep.training import loop
from cifarsweep.training.events import Metrics, Progress, Saved, Started, Stopped
from cifarsweep.training.serialization import load, weights_sha256

STEPS_PER_EPOCH = 6  # 92 images in batches of 16, the last one of 12


def change(**changes):
    return TINY.model_copy(update=changes)


def test_events_come_in_order(bench):
    events = bench.events()
    price = cost(TINY.model, CLASSES)
    assert events[0] == Started(0, 12, price.params, price.flops_per_image, val_images=40, largest_class=10)
    assert [type(event).__name__ for event in events[1:]] == ["Metrics"] * 4 + ["Saving", "Saved", "Finished"]


def test_rows_stand_at_logging_steps_and_evaluations(bench):
    table = rows(bench.events())
    steps = {name: [step for found, step in table if found == name] for name, _ in table}
    assert steps["val/accuracy"] == steps["val/loss"] == [6, 12]
    assert steps["train/loss"] == steps["train/accuracy"] == steps["lr"] == steps["elapsed_s"] == [4, 6, 8, 12]
    assert steps["epoch"] == steps["images"] == steps["images_per_s"] == [4, 6, 8, 12]


def test_x_axes_count_the_odd_last_batch_as_what_it_is(bench):
    table = rows(bench.events())
    assert [table["images", step] for step in (4, 6, 8, 12)] == [64, 92, 92 + 32, 184]
    assert [table["epoch", step] for step in (4, 6, 8, 12)] == [64 / 92, 1, 1 + 32 / 92, 2]


def test_training_rows_are_means_over_the_images_since_the_last_row(bench):
    each_step = rows(bench.events(change(log_every=1)))
    table = rows(bench.events())
    sizes = {4: 16, 5: 16, 6: 12}
    for name in ("train/loss", "train/accuracy"):
        mean = sum(each_step[name, step] * sizes[step] for step in (5, 6)) / 28
        assert table[name, 6] == pytest.approx(mean, rel=1e-12)


def test_evaluation_every_so_many_steps_and_at_the_end(bench):
    table = rows(bench.events(change(eval_every=5, epochs=None, steps=13)))
    assert [step for name, step in table if name == "val/loss"] == [5, 10, 13]


def test_the_logged_rate_is_the_one_the_step_used(bench):
    table = rows(bench.events(change(schedule=Schedule(name="linear", warmup_steps=3), log_every=1)))
    assert [table["lr", step] for step in (1, 2, 3, 4, 12)] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2, 1e-2 / 9])


def test_it_learns(bench):
    result = finished(bench.events(change(epochs=8))).result
    assert result.outcome is Outcome.FINISHED
    assert result.step == 8 * STEPS_PER_EPOCH
    assert result.final["val/accuracy"] > 0.7


def test_final_metrics_are_the_last_rows(bench):
    events = bench.events()
    table = rows(events)
    assert finished(events).result.final == {
        name: table[name, 12] for name, _ in table if not name.startswith(CONFUSION)
    }


def test_validation_rows_are_the_saved_models(bench):
    run = bench.run()
    events = list(loop.train(run))
    model = loop.TrainState(loop.Trial(TINY, 0, CLASSES, torch.device("cpu"), "", 0)).model.eval()
    model.load_state_dict(load(run.folder, finished(events).checkpoint)["model"])
    normalised = (bench.split.val_images / 255 - 0.5) / 0.25
    with torch.no_grad():
        logits = model(normalised)
    loss = nn.functional.cross_entropy(logits, bench.split.val_labels).item()
    accuracy = (logits.argmax(1) == bench.split.val_labels).float().mean().item()
    assert finished(events).result.final["val/loss"] == pytest.approx(loss, rel=1e-5)
    assert finished(events).result.final["val/accuracy"] == pytest.approx(accuracy)
    assert finished(events).result.weights_sha256 == weights_sha256(model.state_dict())


def test_seeds_differ(bench):
    first, second = bench.events(seed=0), bench.events(seed=1)
    assert bits(first)["train/loss", 4] != bits(second)["train/loss", 4]


def test_a_trial_has_the_same_bits_whatever_ran_before_it(bench):
    other = change(model=ConvNet(widths=(8,), norm="none"), threads=2, determinism="fast", batch_size=7)
    alone = bench.events()
    bench.events(other, seed=3)
    torch.rand(100), torch.use_deterministic_algorithms(False)
    after = bench.events()
    assert bits(after) == bits(alone)
    assert finished(after).result.weights_sha256 == finished(alone).result.weights_sha256


def test_a_loss_that_is_not_finite_ends_the_trial_at_the_accuracy_of_a_guess(bench):
    """Always naming the largest class is right for 30 of 40 images."""
    bench.split = replace(bench.split, val_labels=(torch.arange(40) >= 30).long())
    settings = change(optimizer=Optimizer(name="sgd", lr=1e30), model=ConvNet(widths=(4, 8), norm="none"))
    events = bench.events(settings)
    result = finished(events).result
    assert result.outcome is Outcome.DIVERGED
    assert result.step == 4
    assert result.final["val/accuracy"] == 0.75
    assert math.isnan(rows(events)["train/loss", 4])
    assert rows(events)["val/accuracy", 4] == 0.75


def test_weights_that_break_in_the_last_step_are_noticed(bench):
    settings = change(epochs=None, steps=1, optimizer=Optimizer(name="sgd", lr=1e30), model=ConvNet(norm="none"))
    events = bench.events(settings)
    assert math.isfinite(rows(events)["train/loss", 1])
    assert not math.isfinite(rows(events)["val/loss", 1])
    assert finished(events).result.outcome is Outcome.DIVERGED
    assert finished(events).result.final["val/accuracy"] == 1 / CLASSES


def test_stop_saves_and_ends(bench):
    asked = itertools.count()
    events = bench.events(should_stop=lambda: next(asked) >= 3)
    assert isinstance(events[-2], Saved)
    assert events[-2].checkpoint.step == 3
    assert events[-1] == Stopped(3)


def test_progress_comes_between_steps_and_inside_evaluations(bench, monkeypatch):
    monkeypatch.setattr(loop, "PROGRESS_EVERY_S", 0.0)
    events = bench.events()
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in progress].count(6) == 2  # one in the evaluation, one before the next step
    assert progress[0].loss is None
    assert all(event.loss is not None and event.images_per_s > 0 for event in progress[1:])


def test_elapsed_is_training_time_only(bench):
    started = time.perf_counter()
    waits = 0
    table = {}
    for event in loop.train(bench.run()):
        time.sleep(0.05)  # a slow listener is not training
        waits += 0.05
        table |= {(row.name, row.step): row.value for row in event.rows} if isinstance(event, Metrics) else {}
    seconds = [table["elapsed_s", step] for step in (4, 6, 8, 12)]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] < time.perf_counter() - started - waits
    assert table["images_per_s", 6] == pytest.approx(28 / (seconds[1] - seconds[0]))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (change(model=ConvNet(widths=(4,) * 6), batch_size=91), "batch_size: 91 leaves a batch of 1"),
        (change(epochs=None, steps=5, schedule=Schedule(warmup_epochs=1)), "leaves nothing of the budget of 5 steps"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_at_once(bench, settings, complaint):
    with pytest.raises(SpecError, match=complaint):
        bench.events(settings)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda"])
def test_a_device_that_is_not_here_is_refused(bench, device):
    with pytest.raises(DeviceError, match=f"no device '{device}' here; this machine has cpu"):
        bench.events(device=device)


def test_bfloat16_trains_too(bench):
    plain, low = bench.events(), bench.events(change(precision="bfloat16"))
    assert bits(low)["train/loss", 4] != bits(plain)["train/loss", 4]
    assert rows(low)["train/loss", 12] == pytest.approx(rows(plain)["train/loss", 12], rel=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_gpu_gives_the_same_bits_again_and_resumes(bench, name, tmp_path):
    settings = change(optimizer=Optimizer(name=name, lr=1e-2))
    whole = bench.events(settings, device="cuda:0")
    asked = itertools.count()
    folder = CheckpointFolder(tmp_path / "interrupted")
    first = bench.events(settings, device="cuda:0", folder=folder, should_stop=lambda: next(asked) >= 8)
    ref = first[-2].checkpoint
    second = bench.events(settings, device="cuda:0", folder=folder, resume=(ref,))
    assert bits(first) | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256
