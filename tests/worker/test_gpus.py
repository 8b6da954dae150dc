"""Which GPUs there are and which of them a training process sees, through a driver that is pretended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended_nvml import Nvml

from cifarsweep.errors import DeviceError
from cifarsweep.worker import gpus
from cifarsweep.worker.gpus import Gpu, NoDriver, cuda_mismatch, installed, supported_cuda, visible

UUIDS = ("GPU-8932f937-d72c", "GPU-8932aaaa-0001", "GPU-0c0c0c0c-ffff", "GPU-77777777-1234")
FOUR = [Gpu("a GPU", 1, 1, "595", uuid) for uuid in UUIDS]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    nvml = Nvml.install(monkeypatch)
    nvml.uuids = list(UUIDS)
    yield nvml
    assert nvml.open == 0, "the driver was given back"


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("0", [0]),
        ("2,1", [2, 1]),
        (" 2 , 1 ", [2, 1]),
        ("0,-1", [0]),
        ("0,2,-1,1", [0, 2]),
        ("0,0", []),
        ("1,0,1", []),
        ("1,9,0", [1]),
        ("9", []),
        ("1,,2", [1]),
        ("1st,2nd", [1, 2]),
        ("+3", [3]),
        ("0,GPU-77777777", [0]),
        ("GPU-77777777-1234", [3]),
        ("GPU-7,GPU-0", [3, 2]),
        ("GPU-8932", []),
        ("GPU-77777777,GPU-8932", [3]),
        ("GPU-7,GPU-77", []),
        ("GPU-7,1", [3]),
        ("GPU-ffffffff", []),
        ("gpu-77777777", []),
        ("MIG-GPU-0c0c0c0c-ffff/1/0", [2]),
        ("MIG-0b0b0b0b-1111", [0]),
        ("MIG-0b0b0b0b-1111,MIG-0b0b0b0b-2222", [0]),
    ],
)
def test_the_list_of_visible_gpus_is_read_as_cuda_reads_it(chosen, seen):
    assert visible(FOUR, {} if chosen is None else {gpus.VISIBLE: chosen}) == seen


def test_a_machine_without_a_gpu_shows_none():
    assert [visible([], {gpus.VISIBLE: name}) for name in ("0", "GPU-7", "MIG-1")] == [[], [], []]


@given(st.lists(st.sampled_from(["0", "1", "2", "3", "4", "-1", "7x", " 1", "x", ""]), max_size=5).map(",".join))
def test_numbers_are_read_as_torch_reads_them(chosen):
    from torch.cuda import _parse_visible_devices

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(gpus.VISIBLE, chosen)
        asked = _parse_visible_devices()
    there = next((at for at, number in enumerate(asked) if number >= len(FOUR)), len(asked))

    assert visible(FOUR, {gpus.VISIBLE: chosen}) == asked[:there]


@given(st.lists(st.sampled_from([*UUIDS, "GPU-8", "GPU-0", "GPU-77", "GPU-x", "1", ""]), unique=True).map(",".join))
def test_names_are_read_as_torch_reads_them(chosen):
    from torch.cuda import _parse_visible_devices, _transform_uuid_to_ordinals

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(gpus.VISIBLE, chosen)
        asked = _parse_visible_devices()
    if asked and isinstance(asked[0], str):
        assert visible(FOUR, {gpus.VISIBLE: chosen}) == _transform_uuid_to_ordinals(asked, list(UUIDS))


def test_a_choice_that_is_not_visible_names_the_variable(nvml, monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "2,-1")

    assert gpus.parse_gpus("all") == [0]
    with pytest.raises(DeviceError, match=r"no GPU 1: CUDA_VISIBLE_DEVICES=2,-1 leaves 1 of this machine's"):
        gpus.parse_gpus("1")


def test_every_gpu_is_described(nvml):
    assert [(gpu.name, gpu.memory, gpu.driver, gpu.uuid) for gpu in installed()] == [
        ("NVIDIA H200", 80 * 2**30, "595.71.05", uuid) for uuid in UUIDS
    ]


@pytest.mark.parametrize("error", ["NotSupported", "NoPermission", "FunctionNotFound", "Unknown", AttributeError])
@pytest.mark.parametrize(
    ("function", "unknown"),
    [
        ("nvmlDeviceGetMemoryInfo", {"memory": None, "free": None}),
        ("nvmlDeviceGetName", {"name": "a GPU"}),
        ("nvmlDeviceGetUUID", {"uuid": ""}),
        ("nvmlSystemGetDriverVersion", {"driver": "unknown"}),
    ],
)
def test_what_a_driver_does_not_say_is_left_out(nvml, function, unknown, error):
    nvml.broken = {function: getattr(nvml, f"NVMLError_{error}") if isinstance(error, str) else error}

    for gpu in installed():
        assert gpu.fault == ""
        assert {name: getattr(gpu, name) for name in unknown} == unknown
    assert gpus.count_visible() == 4


def test_a_gpu_that_fell_off_the_bus_is_told_from_the_others(nvml):
    nvml.lost = {1}

    assert [gpu.fault for gpu in installed()] == ["", "NVMLError_GpuIsLost", "", ""]


@pytest.mark.parametrize("function", ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName"])
def test_a_gpu_that_is_lost_on_the_way_has_a_fault(nvml, function):
    nvml.broken = {function: nvml.NVMLError_GpuIsLost}

    assert {gpu.fault for gpu in installed()} == {"NVMLError_GpuIsLost"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("LibraryNotFound", NoDriver),
        ("DriverNotLoaded", NoDriver),
        ("LibRmVersionMismatch", DeviceError),
        ("NoPermission", DeviceError),
        ("Unknown", DeviceError),
    ],
)
def test_a_driver_that_does_not_answer_is_told_from_none(nvml, error, kind):
    nvml.broken = {"nvmlInit": getattr(nvml, f"NVMLError_{error}")}

    with pytest.raises(DeviceError, match=f"no GPU can be used here: .*NVMLError_{error}.*--cpu") as caught:
        installed()
    assert caught.type is kind


@pytest.mark.parametrize("error", ["Unknown", "NoPermission", AttributeError])
def test_gpus_that_can_not_be_counted_are_not_none(nvml, error):
    nvml.broken = {"nvmlDeviceGetCount": getattr(nvml, f"NVMLError_{error}") if isinstance(error, str) else error}

    with pytest.raises(DeviceError, match="does not answer"):
        gpus.count_visible()


def test_a_driver_that_fails_at_its_end_has_said_what_it_knew(monkeypatch):
    nvml = Nvml.install(monkeypatch)
    nvml.broken = {"nvmlShutdown": nvml.NVMLError_Unknown}

    assert len(installed()) == 1


def test_the_newest_cuda_that_a_driver_runs_is_read_from_it(nvml):
    nvml.cuda = 12020
    assert supported_cuda() == "12.2"

    nvml.broken = {"nvmlSystemGetCudaDriverVersion_v2": AttributeError}
    assert supported_cuda() == "12.2"

    nvml.broken["nvmlSystemGetCudaDriverVersion"] = nvml.NVMLError_LibraryNotFound
    assert supported_cuda() is None


@pytest.mark.parametrize(
    ("built_for", "supported"), [("13.2", "13.2"), ("13.2", "13.0"), ("12.8", "13.0"), ("13.2", None)]
)
def test_a_driver_runs_every_cuda_of_its_major_version_and_older_ones(built_for, supported):
    assert cuda_mismatch("2.15.0", built_for, "595", supported) is None


def test_a_torch_newer_than_the_driver_is_told_with_both_versions():
    text = cuda_mismatch("2.15.0+cu132", "13.2", "535.129.03", "12.2")

    assert text is not None
    for part in ("535.129.03", "12.2", "2.15.0+cu132", "13.2", "built for CUDA 12", "--cpu"):
        assert part in text


def test_a_torch_without_cuda_is_told():
    assert "built without CUDA" in (cuda_mismatch("2.15.0+cpu", None, "595", "13.2") or "")


@pytest.mark.parametrize(
    ("wanted", "count", "limit", "name", "shown"),
    [
        ("0", 1, None, "NVIDIA H200", "0"),
        ("auto", 2, None, "2 x NVIDIA H200", "0,1"),
        ("2,0", 2, None, "2 x NVIDIA H200", "2,0"),
        ("1", 1, "2,1", "NVIDIA H200", "1"),
        ("0,1", 2, "GPU-c,GPU-a", "2 x NVIDIA H200", "GPU-c,GPU-a"),
    ],
)
def test_a_program_sees_the_gpus_that_its_worker_names_alone(monkeypatch, wanted, count, limit, name, shown):
    Nvml.install(monkeypatch).uuids = ["GPU-a", "GPU-b", "GPU-c"]

    found = gpus.choose(wanted, count, {} if limit is None else {gpus.VISIBLE: limit})

    assert (found.name, found.visible) == (name, shown)
    assert len(found.addresses) == count


@pytest.mark.parametrize(
    ("wanted", "count", "sentence"),
    [
        ("0", 2, r"--gpu 0: a trial of this program takes 2 GPUs \(`gpus` in \[program\]\)"),
        ("0,1", 1, "--gpu 0,1: a trial of this program takes 1 GPU "),
        ("3", 1, "there is no GPU 3 for this program: 3 are visible here"),
        ("auto", 4, "there is no GPU 3 for this program: 3 are visible here, and it takes 4"),
    ],
)
def test_gpus_that_a_program_can_not_have_are_refused(monkeypatch, wanted, count, sentence):
    Nvml.install(monkeypatch).uuids = ["GPU-a", "GPU-b", "GPU-c"]

    with pytest.raises(DeviceError, match=sentence):
        gpus.choose(wanted, count, {})


def test_on_the_processor_a_program_sees_no_gpu(monkeypatch):
    assert gpus.choose("cpu", 2).visible == ""
    nvml = Nvml.install(monkeypatch)
    nvml.broken["nvmlInit"] = nvml.NVMLError_LibraryNotFound
    assert gpus.choose("auto", 2, {}).visible == ""
    with pytest.raises(DeviceError, match="no GPU can be used here"):
        gpus.choose("0", 1, {})
