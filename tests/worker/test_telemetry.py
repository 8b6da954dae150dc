"""Samples become rows beside a trial's evaluations; with a pretended GPU, real processes and a real database."""

import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended_nvml import ADDRESS, SECOND, Nvml
from support import child
from support.waiting import wait_for
from support.worker import work

from cifarsweep.spec.metrics import ENERGY, TELEMETRY, TIMING_METRICS
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import MetricRow
from cifarsweep.store.leases import Timing
from cifarsweep.worker import telemetry
from cifarsweep.worker.child.trainer import DeviceTrainer
from cifarsweep.worker.telemetry import AttemptTelemetry, Readings, Telemetry, Totals

#: A trial whose child died is tried again after a sixth of the lease.
PATIENT = Timing(lease_s=12.0, beat_s=0.2)
SAMPLE = {"gpu/power_w": 300.0}


@pytest.fixture
def nvml(monkeypatch):
    monkeypatch.setattr(telemetry, "SAMPLE_EVERY_S", 0.02)
    return Nvml.install(monkeypatch)


@pytest.fixture
def watching(caplog):
    """Telemetry of this very process, as slot 0."""
    opened: list[Telemetry] = []

    def _watching(*gpus: str) -> Telemetry:
        opened.append(Telemetry(lambda: 3))
        opened[0].add_child(0, os.getpid(), gpus)
        return opened[0]

    yield _watching
    for one in opened:
        one.close()


@given(st.lists(st.floats(-1e6, 1e6)), st.lists(st.floats(-1e6, 1e6)))
def test_a_mean_is_that_of_the_samples_since_the_last_look(before, after):
    look = Totals()
    for value in before:
        look = look.add_sample({"x": value}, None)
    now = look
    for value in after:
        now = now.add_sample({"x": value}, None)

    means = now.means_since(look)

    assert means == ({"x": pytest.approx(sum(after) / len(after), abs=1e-3)} if after else {})


def shown(sampler: Telemetry) -> dict[str, float]:
    """The means of all that was sampled of slot 0."""
    return sampler.readings(0).means_since(Readings())


def gauges(**arguments) -> tuple[SimpleNamespace, AttemptTelemetry]:
    source = SimpleNamespace(now=Totals({}, 5000.0), readings=lambda slot, gpus: Readings(gpus=(source.now,)))
    return source, AttemptTelemetry(source, 0, **arguments)


def test_energy_counts_from_where_the_trial_stood():
    source, resumed = gauges(start_step=40, earlier=MetricRow(ENERGY, 40, 700.0))

    source.now = source.now.add_sample(SAMPLE, 5030.0)

    assert resumed.at_evaluation(50) == (MetricRow("gpu/power_w", 50, 300.0), MetricRow(ENERGY, 50, 730.0))
    assert resumed.final() == {"gpu/power_w": 300.0, ENERGY: 730.0}


def test_energy_stands_once_at_a_step():
    source, resumed = gauges(start_step=40, earlier=MetricRow(ENERGY, 40, 700.0))
    source.now = source.now.add_sample(SAMPLE, 5030.0)

    assert resumed.at_checkpoint(40) == ()
    assert [row.name for row in resumed.at_evaluation(40)] == ["gpu/power_w"]
    assert len(resumed.at_checkpoint(41)) == 1 and resumed.at_checkpoint(41) == ()


def test_a_trial_that_was_stopped_before_its_first_step_leaves_no_energy():
    source, fresh = gauges()

    source.now = source.now.add_sample(SAMPLE, 5030.0)

    assert fresh.at_checkpoint(0) == ()
    assert fresh.at_checkpoint(1) == (MetricRow(ENERGY, 1, 30.0),)


def test_energy_is_left_out_where_what_came_before_is_not_known():
    source, resumed = gauges(start_step=40)

    source.now = source.now.add_sample(SAMPLE, 5030.0)

    assert resumed.at_evaluation(50) == (MetricRow("gpu/power_w", 50, 300.0),)
    assert ENERGY not in resumed.final()


def test_evaluations_faster_than_the_samples_get_no_rows():
    source, fresh = gauges()
    source.now = source.now.add_sample(SAMPLE, 5001.0)

    assert fresh.at_evaluation(1) != () and fresh.at_evaluation(2) == ()


def test_device_and_process_are_sampled_together(nvml, watching, caplog):
    sampler = watching(ADDRESS)

    wait_for(lambda: "memory_bytes" in shown(sampler))

    found = sampler.readings(0)
    assert set(shown(sampler)) | {"cpu/slots_busy"} == set(TELEMETRY) and set(TELEMETRY) < TIMING_METRICS
    assert shown(sampler)["gpu/slots_busy"] == 3.0
    assert found.energy_j is not None and caplog.messages == []
    sampler.close()
    assert nvml.open == 0


def test_all_gpus_of_a_trial_count_and_no_other(nvml, watching):
    sampler = watching(ADDRESS, SECOND)
    wait_for(lambda: "memory_bytes" in shown(sampler))

    both, first = (AttemptTelemetry(sampler, 0, gpus=count) for count in (2, 1))
    began = sampler.readings(0)
    wait_for(lambda: sampler.readings(0).energy_j >= began.energy_j + 4)
    rows = {row.name: row.value for row in both.at_evaluation(3)}
    of_one = {row.name: row.value for row in first.at_evaluation(3)}

    assert (rows["gpu/power_w"], of_one["gpu/power_w"]) == (200.0, 100.0)
    assert rows["gpu/memory_bytes"] == 2 * of_one["gpu/memory_bytes"]
    assert (rows["gpu/temperature_c"], of_one["gpu/temperature_c"]) == (70.0, 64.0)
    assert rows["gpu/utilisation"] == of_one["gpu/utilisation"] == pytest.approx(0.87)
    assert rows[ENERGY] > of_one[ENERGY] > 0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_what_one_gpu_does_not_tell_is_unknown_of_all(watts):
    known = [Totals().add_sample({"gpu/power_w": each}, each) for each in watts]
    blind = Totals().add_sample({"gpu/clock_mhz": 1755.0}, None)

    whole, part = Readings(gpus=tuple(known)), Readings(gpus=(*known, blind))

    assert whole.means_since(Readings()) == {"gpu/power_w": sum(watts)} and whole.energy_j == sum(watts)
    assert part.means_since(Readings()) == {} and part.energy_j is None


def test_a_processor_is_told_by_its_processes_alone(nvml, watching, caplog):
    nvml.broken = {"nvmlInit": AssertionError}
    sampler = watching()

    wait_for(lambda: "memory_bytes" in shown(sampler))

    assert set(shown(sampler)) == {"cpu/utilisation", "memory_bytes", "cpu/slots_busy"}
    assert caplog.messages == []


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetTemperature"])
def test_a_driver_that_fails_is_noted_once_and_processes_are_sampled_on(nvml, watching, caplog, call):
    sampler = watching(ADDRESS)
    wait_for(lambda: shown(sampler))
    nvml.broken = {call: nvml.NVMLError_GpuIsLost}
    if call == "nvmlInit":
        sampler.close()
        sampler = Telemetry(lambda: 1)
        sampler.add_child(0, os.getpid(), [ADDRESS])
    try:
        wait_for(lambda: caplog.messages)
        seen = sampler.readings(0)
        wait_for(lambda: "memory_bytes" in sampler.readings(0).means_since(seen))
    finally:
        sampler.close()

    assert "gpu/power_w" not in sampler.readings(0).means_since(seen)
    assert sampler.readings(0).energy_j is None and len(caplog.messages) == 1


def test_the_child_names_its_gpu_as_the_driver_does(monkeypatch):
    where = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x1B, pci_device_id=0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: where)

    assert DeviceTrainer("cuda:0", "a GPU").gpus == (ADDRESS,) and DeviceTrainer("cpu", "a processor").gpus == ()


def test_a_driver_that_hangs_keeps_nobody_waiting(nvml, monkeypatch):
    monkeypatch.setattr(telemetry, "_CLOSE_TIMEOUT_S", 0.05)
    released, reached = threading.Event(), threading.Event()
    monkeypatch.setattr(nvml, "nvmlInit", lambda: (reached.set(), released.wait(200)))
    sampler = Telemetry(lambda: 1)
    sampler.add_child(0, os.getpid(), [ADDRESS])
    assert reached.wait(200)

    began = time.monotonic()
    assert sampler.readings(0) == Readings()
    sampler.close()

    assert time.monotonic() - began < 100
    released.set()


@pytest.fixture
def timing() -> Timing:
    return PATIENT


@pytest.fixture
def study() -> Study:
    return read_study(find("demo"), seeds=1)


@pytest.mark.long
def test_a_taken_over_trial_goes_on_from_the_energy_of_its_checkpoint(nvml, store, tmp_path):
    # A step is longer than a commit on a slow disk, after which all that was said has no time between.
    command = child.command(tmp_path, "crash-once", bad_step=5, step_s=0.3, gpu=ADDRESS)

    assert work(store, tmp_path, command=command, slots=2) == 0

    trials, found = store.trials.all("demo"), store.metrics.read("demo", [ENERGY, "gpu/slots_busy"])
    assert [len(trial.attempts) for trial in trials] == [2] * 4 and store.admin.check() == []
    joules = [dict(zip(*found[trial.number, ENERGY], strict=True)) for trial in trials]
    # A new count would begin far below what the first four steps took.
    assert all(list(one.values()) == sorted(one.values()) and {4, 6} <= set(one) for one in joules)
    assert [trial.final[ENERGY] for trial in trials] == [one[6] for one in joules]
    assert sum(one[6] for one in joules) > sum(one[4] for one in joules) > 0
    busy = np.concatenate([found[key][1] for key in found if key[1] == "gpu/slots_busy"])
    assert ((busy >= 0) & (busy <= 2)).all() and busy.max() > 1
