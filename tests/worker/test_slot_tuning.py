"""`--slots auto`: the decision on made-up rates, and the probe with real children that pretend to train."""

import itertools
import logging
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import child

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.data.dataset import Split
from cifarsweep.errors import CifarsweepError, DeviceError
from cifarsweep.spec.settings import ConvNet, Optimizer, Schedule, Settings
from cifarsweep.training import events
from cifarsweep.training.loop import Run, train
from cifarsweep.worker import slot_tuning
from cifarsweep.worker.slot_tuning import SIZES, benchmark_settings, best_slots, find_slots, processor_slots


def decide(*rates):
    """The decision on rates of 1, 2, 4, 8 slots, and how many were measured."""
    asked = []

    def measure(slots):
        asked.append(slots)
        return dict(zip(SIZES, rates, strict=False))[slots]

    return best_slots(measure), asked


@pytest.mark.parametrize(
    ("rates", "best", "asked"),
    [
        ((100, 190, 300, 310), 8, [1, 2, 4, 8]),
        ((100, 190, 150), 2, [1, 2, 4]),
        ((100, 90), 1, [1, 2]),
        ((100, 190, None), 2, [1, 2, 4]),
    ],
)
def test_more_slots_are_tried_until_the_rate_falls_or_memory_runs_out(rates, best, asked):
    assert decide(*rates) == (best, asked)


def test_a_cell_that_does_not_fit_alone_is_refused():
    with pytest.raises(CifarsweepError, match="not even one"):
        decide(None)


@given(st.lists(st.floats(1, 1e6), min_size=4, max_size=4))
def test_no_number_that_was_tried_is_faster(rates):
    best, asked = decide(*rates)

    assert rates[SIZES.index(best)] == max(rates[: len(asked)])


def test_a_processor_gives_each_trial_its_threads(monkeypatch):
    monkeypatch.setattr(slot_tuning.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    sizes = [(1, 1), (2, 1), (3, 1), (16, 1), (1, 2), (2, 2), (3, 4)]
    trials = [Settings(steps=1, threads=threads, devices=devices) for threads, devices in sizes]
    assert [processor_slots(settings) for settings in trials] == [8, 4, 2, 1, 4, 2, 1]


def test_a_probe_never_ends_by_itself():
    short = Settings(epochs=1, schedule=Schedule(warmup_epochs=0.5), eval_every=3)

    changed = benchmark_settings(short)

    assert changed.log_every == short.log_every
    assert changed.steps == changed.eval_every == 10**9 and changed.epochs is None
    assert Settings.model_validate_json(changed.model_dump_json()) == changed


def test_a_probe_does_not_diverge_whatever_the_rate(tmp_path):
    wild = Settings(dataset="random", steps=1, batch_size=4, optimizer=Optimizer(name="sgd", lr=1e4), log_every=1)
    wild = wild.model_copy(update={"model": ConvNet(widths=(4, 4), norm="none"), "precision": "float32"})
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.randint(0, 256, (8, 3, 32, 32), generator=draw, dtype=torch.uint8), torch.arange(8) % 4
    split, asked = Split(images, labels, images, labels, torch.full((3,), 0.5), torch.ones(3)), itertools.count()

    def ended(settings):
        run = Run(settings, 0, split, 4, CheckpointFolder(tmp_path), should_stop=lambda: next(asked) >= 20)
        return list(train(run))[-1]

    assert isinstance(ended(wild.model_copy(update={"steps": 100})), events.Finished)
    asked = itertools.count()
    assert isinstance(ended(benchmark_settings(wild)), events.Stopped)


def test_a_network_that_diverges_all_the_same_is_one_sentence(tmp_path):
    with pytest.raises(CifarsweepError, match="--slots auto: the loss of the study's first cell is not finite"):
        find_slots(command(tmp_path, "diverges"), Settings(epochs=1))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_tuning, "_MEASURED_S", 0.3)


def command(tmp_path: Path, behaviour: str = "ok", **options: object) -> list[str]:
    return child.command(tmp_path, behaviour, script="shared GPU", **options)


def found(tmp_path: Path, **options: object) -> int:
    return find_slots(command(tmp_path, **options), Settings(epochs=1))


def test_children_that_share_a_device_well_get_as_many_slots_as_fit(tmp_path):
    assert found(tmp_path, memory=2) == 2


def test_children_that_gain_nothing_together_stay_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(slot_tuning, "SIZES", (1, 4))

    assert found(tmp_path, gain=-6) == 1


def test_a_child_without_a_gpu_means_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(slot_tuning, "processor_slots", lambda settings: 5)

    assert found(tmp_path, there=False) == 5


@pytest.mark.parametrize(
    ("mishap", "why"),
    [
        ("refused", "there is no memory to start on"),
        ("killed", "ended by signal SIGKILL"),
        ("exception", "ended by exit code 1"),
        ("silent", "said nothing for 0 s"),
    ],
)
def test_a_child_that_finds_no_room_to_start_means_that_so_many_do_not_fit(tmp_path, monkeypatch, caplog, mishap, why):
    rate = slot_tuning.SlotTuner.rate

    def impatient_of_two(tuner: slot_tuning.SlotTuner, slots: int) -> float | None:
        monkeypatch.setattr(slot_tuning, "_SILENCE_LIMIT_S", 0.4 if (slots, mishap) == (2, "silent") else 200.0)
        return rate(tuner, slots)

    monkeypatch.setattr(slot_tuning.SlotTuner, "rate", impatient_of_two)
    caplog.set_level(logging.INFO, logger="cifarsweep")

    assert find_slots(command(tmp_path, room=1, crowded_out=mishap), Settings(epochs=1)) == 1

    assert "2 at once do not fit" in caplog.messages[-1] and why in caplog.messages[-1]


def test_a_system_that_starts_no_more_processes_means_that_so_many_do_not_fit(tmp_path, monkeypatch):
    real = slot_tuning.ChildProcess
    started: list[object] = []

    def start(command: list[str]) -> object:
        if started:
            raise DeviceError("the training process can't be started: Cannot allocate memory")
        started.append(command)
        return real(command)

    monkeypatch.setattr(slot_tuning, "ChildProcess", start)

    assert found(tmp_path) == 1


@pytest.mark.parametrize(("mishap", "why"), [("refused", "there is no memory to start on"), ("killed", "SIGKILL")])
def test_no_room_for_the_first_child_is_one_sentence(tmp_path, mishap, why):
    with pytest.raises(CifarsweepError, match=rf"--slots auto: [\s\S]*{why}"):
        find_slots(command(tmp_path, room=0, crowded_out=mishap), Settings(epochs=1))


def test_a_slow_network_is_rated_after_some_time_and_not_after_some_steps(monkeypatch):
    monkeypatch.setattr(slot_tuning, "_MEASURED_S", 3.0)
    slow = slot_tuning._TunedChild(None, 0.0)  # type: ignore[arg-type]
    for now, step in ((0.0, 4), (40.0, 5), (48.0, 6)):
        assert not slow.has_rate
        slow._on_reply(events.Progress(step, 0.0, None, None, 0.0), now)

    assert slow.has_rate and slow.rate == 1 / 8


def test_a_child_that_dies_is_one_sentence(tmp_path):
    with pytest.raises(CifarsweepError, match=r"--slots auto[\s\S]*no such"):
        find_slots([sys.executable, "-c", "raise SystemExit('no such thing')"], Settings(epochs=1))
