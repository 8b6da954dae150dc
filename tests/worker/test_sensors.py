"""Readings: the GPU's through a driver that is pretended, those of processes for real."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from pretended_nvml import ADDRESS, Nvml
from support.waiting import wait_for

from cifarsweep.errors import DeviceError
from cifarsweep.worker import sensors
from cifarsweep.worker.sensors import GpuSensor, ProcessTree

BURN = "while True: pass"


@pytest.fixture
def nvml(monkeypatch):
    return Nvml.install(monkeypatch)


def test_a_gpu_is_found_by_its_address_and_read_in_plain_units(nvml):
    nvml.milliwatts, nvml.millijoules = 412_500, 6_999_250

    values, energy_j = GpuSensor(ADDRESS).read()

    assert values == {
        "gpu/utilisation": 0.87,
        "gpu/memory_bytes": 2.0 * 2**30,
        "gpu/power_w": 412.5,
        "gpu/temperature_c": 64.0,
        "gpu/clock_mhz": 1755.0,
        "gpu/throttled": 0.0,
    }
    assert energy_j == 7000.25


@pytest.mark.parametrize("without", ["the second answer", "its version"])
def test_memory_counts_what_the_driver_keeps_where_the_driver_does_not_tell_it_apart(nvml, monkeypatch, without):
    nvml.versions.clear()
    if without == "its version":
        monkeypatch.delattr(Nvml, "nvmlMemory_v2")

    assert GpuSensor(ADDRESS).read()[0]["gpu/memory_bytes"] == 3.0 * 2**30


@pytest.mark.parametrize(("reasons", "throttled"), [(0x0, 0.0), (0x1, 0.0), (0x2, 0.0), (0x4, 1.0), (0x41, 1.0)])
def test_slow_clocks_count_where_power_or_heat_are_the_reason(nvml, reasons, throttled):
    nvml.reasons = reasons

    assert GpuSensor(ADDRESS).read()[0]["gpu/throttled"] == throttled


def test_what_a_gpu_does_not_know_is_left_out(nvml):
    nvml.broken = {
        "nvmlDeviceGetUtilizationRates": nvml.NVMLError_NotSupported,
        "nvmlDeviceGetPowerUsage": nvml.NVMLError_NoPermission,
        "nvmlDeviceGetTotalEnergyConsumption": nvml.NVMLError_NotSupported,
    }

    values, energy_j = GpuSensor(ADDRESS).read()

    assert set(values) == {"gpu/memory_bytes", "gpu/temperature_c", "gpu/clock_mhz", "gpu/throttled"}
    assert energy_j is None


@pytest.mark.parametrize("error", ["Timeout", "Unknown", "FunctionNotFound", AttributeError])
def test_a_reading_that_fails_costs_no_other(nvml, error):
    gpu = GpuSensor(ADDRESS)
    kind = getattr(nvml, f"NVMLError_{error}") if isinstance(error, str) else error
    nvml.broken = {"nvmlDeviceGetTemperature": kind, "nvmlDeviceGetCurrentClocksEventReasons": kind}

    assert set(gpu.read()[0]) == {"gpu/utilisation", "gpu/memory_bytes", "gpu/power_w", "gpu/clock_mhz"}
    nvml.broken = {}
    assert len(gpu.read()[0]) == 6


def test_energy_that_can_not_be_read_for_once_is_not_made_up(nvml):
    gpu = GpuSensor(ADDRESS)
    assert gpu.read()[1] == 1.0
    nvml.broken = {"nvmlDeviceGetTotalEnergyConsumption": nvml.NVMLError_Timeout}
    assert gpu.read()[1] is None

    nvml.broken = {}
    assert gpu.read()[1] == 2.0


def test_a_driver_that_does_not_know_the_gpu_is_given_back(nvml):
    nvml.broken = {"nvmlDeviceGetHandleByPciBusId": nvml.NVMLError_NotSupported}

    with pytest.raises(DeviceError, match="no readings of the GPU"):
        GpuSensor(ADDRESS)

    assert nvml.open == 0


def test_a_gpu_that_does_not_count_its_energy_has_its_power_added_up(nvml, monkeypatch):
    nvml.broken = {"nvmlDeviceGetTotalEnergyConsumption": nvml.NVMLError_NotSupported}
    now = iter((100.0, 101.0, 103.5))
    monkeypatch.setattr(sensors.time, "monotonic", lambda: next(now))

    gpu = GpuSensor(ADDRESS)
    nvml.milliwatts = 200_000
    first = gpu.read()[1]
    nvml.milliwatts = 100_000

    assert (first, gpu.read()[1]) == (200.0, 450.0)


@pytest.mark.parametrize("when", ["nvmlInit", "nvmlDeviceGetHandleByPciBusId", "nvmlDeviceGetMemoryInfo"])
def test_a_driver_that_fails_is_one_sentence(nvml, when):
    nvml.broken = {when: nvml.NVMLError_GpuIsLost}

    with pytest.raises(DeviceError, match="no readings of the GPU: NVIDIA's driver says 'NVMLError_GpuIsLost'"):
        GpuSensor(ADDRESS).read()


def test_a_child_and_what_it_started_are_read_together():
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], start_new_session=True) as child:
        try:
            family = ProcessTree(child.pid)
            own = psutil.Process(child.pid)
            wait_for(lambda: family.read()["memory_bytes"] > 1.5 * own.memory_info().rss)
            # The parent waits by now, so only what it started can be busy.
            wait_for(lambda: family.read()["cpu/utilisation"] > 0.2)
        finally:
            os.killpg(child.pid, signal.SIGKILL)

    assert family.read() == {}
    assert ProcessTree(child.pid).read() == {}
