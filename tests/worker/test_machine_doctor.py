"""What `doctor` says of GPUs: the driver, which is pretended, and the torch that is installed."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pretended_nvml import Nvml

from cifarsweep.worker import doctor, gpus


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(gpus.VISIBLE, "0,7")
    monkeypatch.setattr(doctor, "_torch_build", lambda: {"__version__": "2.15.0+cu132", "cuda": "13.2", "hip": None})
    return Nvml.install(monkeypatch)


def found(tmp_path) -> dict[str, tuple[str, str]]:
    return {each.subject: (each.level, each.text) for each in doctor.examine(str(tmp_path))}


def test_a_gpu_that_torch_can_use_is_well(nvml, tmp_path):
    seen = found(tmp_path)

    assert seen["GPU 0"] == ("ok", "NVIDIA H200, 77 of 80 GiB free, driver 595.71.05")
    assert seen["CUDA"] == ("ok", "driver 595.71.05 supports 13.2, torch needs 13.2")
    assert seen["visible GPUs"] == ("ok", "0 of 1, by CUDA_VISIBLE_DEVICES=0,7")


@pytest.mark.parametrize(
    ("models", "text"),
    [
        (["NVIDIA H200"], None),
        (["NVIDIA H200"] * 4, "4 x NVIDIA H200 (--gpu 0,1,2,3), for studies with `devices` above 1"),
        (["A100", "L4", "A100"], "2 x A100 (--gpu 0,2), 1 x L4 (--gpu 1), for studies .*; those of one trial have to"),
    ],
)
def test_gpus_that_one_trial_can_take_are_named(models, text):
    seen = {each.subject: each.text for each in doctor._several(models)}

    assert (text is None) == (not seen)
    assert text is None or re.search(text.replace("(", r"\(").replace(")", r"\)"), seen["GPUs for one trial"])


def test_a_container_with_little_shared_memory_is_warned_of(monkeypatch):
    monkeypatch.setattr(doctor, "disk_usage", lambda path: SimpleNamespace(total=2**26))

    (warning,) = [each for each in doctor._several(["NVIDIA H200"] * 2) if each.level == "warn"]

    assert warning.subject == "shared memory" and "/dev/shm has 64 MiB" in warning.text


def test_a_torch_newer_than_the_driver_fails_with_both_versions(nvml, tmp_path):
    nvml.cuda = 12020

    level, text = found(tmp_path)["CUDA"]

    assert level == "fail"
    assert "driver 595.71.05 supports CUDA up to 12.2, and torch 2.15.0+cu132 needs CUDA 13.2" in text


@pytest.mark.parametrize(
    ("build", "level", "sentence"),
    [
        ({"__version__": "2.15.0+cpu", "cuda": None}, "fail", "built without CUDA"),
        ({"__version__": "2.15.0", "cuda": None, "hip": "7.1"}, "warn", "can't be read"),
        (None, "warn", "can't be read"),
    ],
)
def test_a_torch_that_is_not_built_for_the_gpu_is_told(nvml, tmp_path, monkeypatch, build, level, sentence):
    monkeypatch.setattr(doctor, "_torch_build", lambda: build)

    assert found(tmp_path)["CUDA"][0] == level
    assert sentence in found(tmp_path)["CUDA"][1]


@pytest.mark.parametrize(
    ("lost", "function", "error", "subject", "level", "sentence"),
    [
        ({0}, "", "", "GPU 0", "fail", "does not answer: NVMLError_GpuIsLost"),
        (set(), "nvmlDeviceGetMemoryInfo", "NotSupported", "GPU 0", "ok", "NVIDIA H200, memory unknown"),
        (set(), "nvmlInit", "Unknown", "GPU", "fail", "does not answer: NVMLError_Unknown"),
        (set(), "nvmlInit", "LibraryNotFound", "GPU", "warn", "no GPU can be used here"),
    ],
)
def test_a_driver_that_does_not_say_all_is_no_crash(nvml, tmp_path, lost, function, error, subject, level, sentence):
    nvml.lost, nvml.broken = lost, {function: getattr(nvml, f"NVMLError_{error}")} if error else {}

    assert found(tmp_path)[subject][0] == level
    assert sentence in found(tmp_path)[subject][1]


def test_what_torch_is_built_for_is_known_without_an_import_of_it():
    import torch

    script = "import sys; from cifarsweep.worker.doctor import _torch_build; print(_torch_build()); "
    done = subprocess.run(
        [sys.executable, "-c", script + "assert 'torch' not in sys.modules"], capture_output=True, text=True, check=True
    )

    assert f"'__version__': '{torch.__version__}'" in done.stdout
    assert f"'cuda': {torch.version.cuda!r}" in done.stdout
