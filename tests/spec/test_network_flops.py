"""The arithmetic of our own networks, counted from their settings, is what is counted on the networks."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cifarsweep.models import cost, counted_cost
from cifarsweep.spec.image_shape import CIFAR, ImageShape
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


SHAPES = [CIFAR, ImageShape(64, 3), ImageShape(32, 1), ImageShape(96, 1)]
#: Sides that no power of two divides, so that pooling rounds down and strides round up.
ODD_SHAPES = [ImageShape(8, 1), ImageShape(15, 3), ImageShape(28, 1), ImageShape(45, 3)]


@hypothesis_settings(max_examples=30)
@given(st.one_of(CONVNETS, VITS), st.sampled_from([2, 10, 100]), st.sampled_from(SHAPES))
def test_networks_that_a_study_may_build(model, classes, shape):
    assert cost(model, classes, shape) == counted_cost(model, classes, shape)


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
@pytest.mark.parametrize(("classes", "shape"), [(10, CIFAR), (100, CIFAR), *((7, shape) for shape in ODD_SHAPES)])
def test_residual_nets(name, classes, shape):
    model = ResNet9() if name == "resnet9" else ResNet(name=name)

    assert cost(model, classes, shape) == counted_cost(model, classes, shape)


@pytest.mark.parametrize("shape", ODD_SHAPES, ids=str)
def test_pools_of_a_plain_net_round_down(shape):
    model = ConvNet(widths=(8, 16, 24), skip=True)

    assert cost(model, 10, shape) == counted_cost(model, 10, shape)


def test_a_model_of_timm_is_not_known():
    assert forward_flops(Timm(name="timm:vit_base_patch8_224"), 10) is None
