"""Which device a child takes, where torch and NVIDIA's driver are pretended and disagree; and what it trains on it."""

import json

import pytest
import torch
from pretended_nvml import Nvml

from cifarsweep.checkpoints.location import branches_of
from cifarsweep.errors import DeviceError
from cifarsweep.spec.settings import ConvNet, Settings
from cifarsweep.training.events import BranchSaved, Finished
from cifarsweep.worker import gpus
from cifarsweep.worker.child.protocol import BranchFile, Train
from cifarsweep.worker.child.trainer import DeviceTrainer


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch):
    """A driver that shows a GPU, and a torch that finds none."""
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    return Nvml.install(monkeypatch)


@pytest.mark.parametrize("wanted", ["auto", "0", "3"])
def test_a_gpu_that_torch_is_too_new_for_is_not_passed_over(nvml, wanted):
    nvml.cuda = 12020

    with pytest.raises(
        DeviceError, match=r"NVIDIA H200 can't be used: .* supports CUDA up to 12\.2, .* needs CUDA 13\.2"
    ):
        DeviceTrainer.on(wanted)


def test_a_gpu_that_torch_is_not_built_for_is_not_passed_over(nvml, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)

    with pytest.raises(DeviceError, match="built without CUDA"):
        DeviceTrainer.on("auto")


def test_a_gpu_that_does_not_start_for_another_reason_says_it(nvml, monkeypatch):
    def init() -> None:
        raise RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized\nmore")

    monkeypatch.setattr(torch.cuda, "init", init)

    with pytest.raises(
        DeviceError, match=r"Error 802: system not yet initialized; see what `nvidia-smi` says"
    ) as caught:
        DeviceTrainer.on("auto")
    assert "more" not in str(caught.value)


def test_a_gpu_that_fell_off_the_bus_is_not_passed_over(nvml):
    nvml.lost = {0}

    with pytest.raises(DeviceError, match="can't be used: NVMLError_GpuIsLost"):
        DeviceTrainer.on("auto")


def test_a_driver_that_does_not_answer_is_not_passed_over(nvml):
    nvml.broken = {"nvmlInit": nvml.NVMLError_LibRmVersionMismatch}

    with pytest.raises(DeviceError, match="LibRmVersionMismatch"):
        DeviceTrainer.on("auto")


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
@pytest.mark.parametrize("why", ["no driver", "no GPU", "none visible"])
def test_where_no_gpu_is_meant_to_be_used_the_processor_trains(nvml, monkeypatch, why, wanted):
    if why == "no driver":
        nvml.broken = {"nvmlInit": nvml.NVMLError_LibraryNotFound}
    elif why == "no GPU":
        nvml.uuids = []
    else:
        monkeypatch.setenv(gpus.VISIBLE, "-1")

    assert DeviceTrainer.on(wanted).device == "cpu"


def test_who_asks_for_the_processor_gets_it_though_torch_does_not_fit_the_gpu(nvml):
    nvml.cuda = 12020

    assert DeviceTrainer.on("cpu").device == "cpu"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that finds a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA GeForce GTX 980")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (5, 2))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])


def failing_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def arange(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "arange", arange)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_torch_has_no_kernels_for_is_refused_before_it_takes_a_trial(monkeypatch):
    failing_with(monkeypatch, RuntimeError("CUDA error: no kernel image is available for execution on the device"))

    with pytest.raises(
        DeviceError, match=r"GTX 980 has compute capability 5\.2, and torch .* is built for sm_75, sm_80"
    ):
        DeviceTrainer.on("auto")


@pytest.mark.usefixtures("gpu")
def test_what_else_is_wrong_with_a_gpu_shows_before_it_takes_a_trial(monkeypatch):
    failing_with(monkeypatch, RuntimeError("CUDA error: uncorrectable ECC error encountered"))

    with pytest.raises(RuntimeError, match="ECC"):
        DeviceTrainer.on("0")


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_computes_wrongly_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "arange", lambda n, device: torch.ones(n))

    with pytest.raises(DeviceError, match="computes wrongly: the first 1,000 squares add up to 1000"):
        DeviceTrainer.on("auto")


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_computes_is_taken(monkeypatch):
    real = torch.arange
    monkeypatch.setattr(torch, "arange", lambda n, device: real(n))

    assert DeviceTrainer.on("auto").device == "cuda:0"


def test_a_request_begins_from_the_checkpoint_that_another_one_left(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DATA", str(tmp_path / "data"))
    trainer, folders = DeviceTrainer.on("cpu"), iter(str(tmp_path / name) for name in ("trunk", "branch", "alone"))

    def train(steps: int, **options: object) -> list:
        settings = Settings(dataset="digits", model=ConvNet(widths=(4,), norm="none"), batch_size=64, steps=steps)
        flat = json.loads(settings.model_dump_json())
        request = Train("demo/0", flat, 0, next(folders), (), 1e9, **options)  # type: ignore[arg-type]
        return list(trainer.train(request, lambda: False))

    saved = [event.checkpoint for event in train(3, branch_steps=(2,)) if isinstance(event, BranchSaved)]
    events = train(4, branch=BranchFile(branches_of(str(tmp_path / "trunk")), *saved))

    assert events[0].branch_step == 2
    ends = [each[-1].result.weights_sha256 for each in (events, train(4)) if isinstance(each[-1], Finished)]
    assert len(ends) == 2 and len(set(ends)) == 1


def test_the_processor_says_which_instructions_it_computes_with(nvml):
    assert DeviceTrainer.on("cpu").versions()["instructions"] == torch.backends.cpu.get_cpu_capability()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A torch that finds two GPUs; a test may change their names."""
    names = ["NVIDIA H200", "NVIDIA H200"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: names[index])
    monkeypatch.setattr(DeviceTrainer, "check", lambda self: None)
    return names


@pytest.mark.usefixtures("two_gpus")
def test_a_trial_takes_as_many_gpus_as_it_needs_of_those_that_are_named():
    trainer = DeviceTrainer.on("1,0")

    assert trainer.device == "cuda:1" and trainer.devices(1) == ["cuda:1"]
    assert trainer.devices(2) == ["cuda:1", "cuda:0"]
    with pytest.raises(DeviceError, match="the trial needs 3 GPUs, and this worker has 2 for a trial"):
        trainer.devices(3)
    with pytest.raises(DeviceError, match="there is no GPU 2 on this machine: its GPUs are 0 to 1"):
        DeviceTrainer.on("0,2")
    assert DeviceTrainer.on("cpu").devices(3) == ["cpu"] * 3


def test_gpus_of_different_models_train_no_trial_together(two_gpus):
    two_gpus[1] = "NVIDIA A100"

    with pytest.raises(DeviceError, match="GPU 0 is NVIDIA H200 and GPU 1 is NVIDIA A100: a trial needs GPUs of one"):
        DeviceTrainer.on("0,1")
