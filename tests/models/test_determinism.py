"""Which networks a GPU can't train exactly: told here, where there is none."""

import importlib.util

import pytest
import torch

from cifarsweep.models.determinism import inexact_on_gpu
from cifarsweep.spec.settings import ConvNet, ResNet, ResNet9, Timm, ViT

OURS = [
    *(ConvNet(), ResNet9(), ResNet(name="resnet18"), ViT(), ViT(stem="conv")),
]
needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra")


@pytest.mark.parametrize("model", OURS, ids=str)
def test_no_network_of_ours_is_refused_by_a_gpu(model):
    assert inexact_on_gpu(model, 10) == ()


@needs_timm
@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("timm:vgg11", ("_adaptive_avg_pool2d_backward",)),
        ("timm:resnetblur18", ("reflection_pad2d_backward",)),
        ("timm:resnet18", ()),
    ],
)
def test_networks_of_timm_name_what_a_gpu_refuses(name, operations):
    before = torch.get_deterministic_debug_mode()

    assert inexact_on_gpu(Timm(name=name, img_size=64, pretrained=True), 10) == operations
    assert torch.get_deterministic_debug_mode() == before


@needs_timm
def test_a_network_that_the_meta_device_can_not_run_is_left_to_training(monkeypatch):
    class Odd(torch.nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sum(dim=(1, 2, 3)).nonzero().float()

    monkeypatch.setattr("cifarsweep.models.determinism.build", lambda *_, **__: Odd(1, 1))

    assert inexact_on_gpu(ResNet9(), 7) == ()
