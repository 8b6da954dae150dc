"""The arithmetic of our own networks, counted from their settings, is what is counted on the networks."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cifarsweep.models import cost
from cifarsweep.spec.network_flops import forward_flops
from cifarsweep.spec.settings import ConvNet, ResNet, ResNet9, Timm, ViT

CONVNETS = st.builds(
    ConvNet,
    widths=st.lists(st.sampled_from([8, 16, 24]), min_size=1, max_size=6).map(tuple),
    convs_per_stage=st.sampled_from([1, 2, 4]),
    skip=st.booleans(),
    skip_every=st.sampled_from([0, 1]),
    bridge_size=st.sampled_from([1, 3]),
    stem_width=st.sampled_from([0, 8, 16]),
    norm=st.sampled_from(["batch", "none"]),
    kernel_size=st.sampled_from([1, 3, 5]),
)
VITS = st.builds(
    ViT,
    stem=st.sampled_from(["patch", "conv"]),
    patch_size=st.sampled_from([1, 2, 4, 8, 16, 32]),
    width=st.sampled_from([8, 24, 64]),
    depth=st.integers(1, 3),
    heads=st.sampled_from([1, 4]),
    mlp_ratio=st.sampled_from([0.01, 1.5, 2.0]),
)


@hypothesis_settings(max_examples=30)
@given(st.one_of(CONVNETS, VITS), st.sampled_from([2, 10, 100]))
def test_networks_that_a_study_may_build(model, classes):
    assert forward_flops(model, classes) == cost(model, classes).flops_per_image


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
@pytest.mark.parametrize("classes", [10, 100])
def test_residual_nets(name, classes):
    assert forward_flops(ResNet(name=name), classes) == cost(ResNet(name=name), classes).flops_per_image
    assert forward_flops(ResNet9(), classes) == cost(ResNet9(), classes).flops_per_image


def test_a_model_of_timm_is_not_known():
    assert forward_flops(Timm(name="timm:vit_base_patch8_224"), 10) is None
