"""`--slots auto`: the decision on made-up rates, and the probe with real children that pretend to train."""

import sys
from pathlib import Path

import probed_child
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.errors import CifarsweepError
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.worker import probe
from cifarsweep.worker.probe import SIZES, best_slots, endless, find_slots, processor_slots


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
    monkeypatch.setattr(probe.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    assert [processor_slots(threads) for threads in (1, 2, 3, 16)] == [8, 4, 2, 1]


def test_a_probe_never_ends_by_itself():
    short = Settings(epochs=1, schedule=Schedule(warmup_epochs=0.5), eval_every=3)

    changed = endless(short)

    assert changed.steps == changed.eval_every == 10**9 and changed.epochs is None
    assert Settings.model_validate_json(changed.model_dump_json()) == changed


def found(tmp_path: Path, peak: object, room: int) -> int:
    command = [sys.executable, str(Path(probed_child.__file__)), str(tmp_path), str(peak), str(room)]
    return find_slots(command, Settings(epochs=1), lambda text: None)


def test_children_that_share_a_device_well_get_as_many_slots_as_fit(tmp_path):
    assert found(tmp_path, peak=100, room=2) == 2


def test_children_that_gain_nothing_together_stay_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SIZES", (1, 4))

    assert found(tmp_path, peak=1, room=8) == 1


def test_a_child_without_a_gpu_means_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "processor_slots", lambda threads: 5)

    assert found(tmp_path, peak="none", room=8) == 5


def test_a_child_that_dies_is_one_sentence(tmp_path):
    with pytest.raises(CifarsweepError, match=r"--slots auto[\s\S]*no such"):
        find_slots([sys.executable, "-c", "raise SystemExit('no such thing')"], Settings(epochs=1), print)
