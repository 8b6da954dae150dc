"""The precision that a trial trains in, and memory that is given back."""

from types import SimpleNamespace

import pytest
import torch
from stripes import TINY

from cifarsweep.training import device
from cifarsweep.training.determinism import make_repeatable

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


def test_float32_is_ieee_for_convolutions_too_and_libraries_can_still_ask():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True

    make_repeatable(TINY)

    switches = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
    assert [each.fp32_precision for each in switches] == ["ieee"] * 3
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("precision", "where", "capability", "low"),
    [
        ("auto", GPU, (7, 5), False),
        ("auto", GPU, (8, 0), True),
        ("auto", GPU, (12, 0), True),
        ("auto", CPU, (9, 0), False),
        ("bfloat16", GPU, (7, 5), True),
        ("bfloat16", CPU, None, True),
        ("float32", GPU, (9, 0), False),
    ],
)
def test_auto_is_bfloat16_on_gpus_that_compute_in_it(monkeypatch, precision, where, capability, low):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: SimpleNamespace(enabled=enabled))
    device._has_bfloat16.cache_clear()

    assert device.autocast(TINY.model_copy(update={"precision": precision}), where).enabled is low

    device._has_bfloat16.cache_clear()


def test_memory_goes_back_to_a_gpu_though_its_allocator_may_refuse(monkeypatch):
    asked = []

    def refuse():
        asked.append(True)
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    device.free_memory(CPU)
    assert not asked
    device.free_memory(GPU)
    assert asked
