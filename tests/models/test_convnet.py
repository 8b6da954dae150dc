import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cifarsweep.models import build, counted_cost, smallest_batch
from cifarsweep.spec.settings import ConvNet

NORMS = ("batch", "layer", "group", "instance", "none")


def images(count=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


options = st.builds(
    ConvNet,
    widths=st.lists(st.sampled_from([4, 8, 12]), min_size=1, max_size=5).map(tuple),
    convs_per_stage=st.sampled_from([2, 4]),
    skip=st.booleans(),
    skip_every=st.sampled_from([0, 1, 2]),
    bridge_size=st.sampled_from([1, 3]),
    stem_width=st.sampled_from([0, 8]),
    conv_bias=st.booleans(),
    norm=st.sampled_from(NORMS),
    norm_group_size=st.sampled_from([1, 2, 4]),
    norm_affine=st.booleans(),
    kernel_size=st.sampled_from([1, 3, 5]),
    dropout=st.sampled_from([0.0, 0.5]),
)


@settings(max_examples=25, deadline=None)
@given(options)
def test_every_combination_of_options_gives_logits_and_gradients(option):
    model = build(option, 7, generator())
    logits = model(images())
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 6])).backward()
    assert logits.shape == (4, 7)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@settings(max_examples=25, deadline=None)
@given(options)
def test_params_follow_from_the_description(option):
    bias = option.conv_bias
    befores = (option.stem_width or 3, *option.widths)
    expected = option.widths[-1] * 10 + 10 + option.stem_width * (3 * 9 + 1)
    for before, width in zip(befores, option.widths, strict=False):
        for channels in (before, *[width] * (option.convs_per_stage - 1)):
            expected += channels * width * option.kernel_size**2
            expected += width * bias if option.norm == "none" else 2 * width * option.norm_affine
        bridge = before * width * option.bridge_size**2 + (width if option.bridge_size == 3 else 0)
        expected += bridge if option.skip and before != width else 0
    assert counted_cost(option, 10).params == expected


def test_cost_counts_a_multiply_add_as_two():
    plain = ConvNet(widths=(8, 16), convs_per_stage=1)
    convolutions = 32 * 32 * 3 * 8 * 9 + 16 * 16 * 8 * 16 * 9
    assert counted_cost(plain, 10).flops_per_image == 2 * (convolutions + 16 * 10)


def test_the_default_net_has_known_costs():
    # widths 32-64-128-256-256: sums of conv, norm and head parameters done by hand
    convs = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 3 * 256 * 256)
    assert counted_cost(ConvNet(), 10).params == convs + 2 * 2 * (32 + 64 + 128 + 256 + 256) + 256 * 10 + 10


@pytest.mark.parametrize(
    ("norm", "kind", "groups"),
    [("layer", nn.GroupNorm, 1), ("group", nn.GroupNorm, 4), ("batch", nn.BatchNorm2d, None)],
)
def test_norms_are_the_layers_they_are_called_after(norm, kind, groups):
    model = build(ConvNet(widths=(8,), norm=norm, norm_groups=4), 10)
    found = [module for module in model.modules() if isinstance(module, kind)]
    assert len(found) == 2
    assert groups is None or all(module.num_groups == groups for module in found)


def test_groups_of_one_size_are_more_in_a_wider_stage():
    model = build(ConvNet(widths=(8, 32), convs_per_stage=1, norm="group", norm_group_size=4), 10)
    assert [module.num_groups for module in model.modules() if isinstance(module, nn.GroupNorm)] == [2, 8]


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance"])
def test_norms_can_go_without_scale_and_shift(norm):
    model = build(ConvNet(widths=(8,), norm=norm, norm_affine=False), 10)
    layers = [type(module).__name__ for module in model.stages.modules() if list(module.parameters(recurse=False))]
    assert layers == ["Conv2d", "Conv2d"]


@pytest.mark.parametrize("norm", ["layer", "group", "instance"])
def test_norms_of_single_images_do_not_mix_a_batch(norm):
    model = build(ConvNet(widths=(8, 8), norm=norm, norm_groups=4), 10, generator())
    batch = images()
    torch.testing.assert_close(model(batch)[:1], model(batch[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_convolutions_have_a_bias_only_without_a_norm(norm):
    model = build(ConvNet(widths=(8,), norm=norm), 10)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert all((module.bias is not None) == (norm == "none") for module in convolutions)


def test_a_skip_adds_each_stages_input_to_its_output():
    model = build(ConvNet(widths=(8, 8), skip=True, norm="none"), 10, generator())
    features = torch.randn(2, 8, 16, 16)
    with torch.no_grad():
        for parameter in model.stages[1].body.parameters():
            parameter.zero_()
    assert torch.equal(model.stages[1](features), features)


def test_a_skip_over_every_two_convolutions_adds_what_went_into_them():
    model = build(
        ConvNet(widths=(8,), convs_per_stage=6, skip=True, skip_every=2, stem_width=8, norm="none"), 10, generator()
    )
    features = torch.randn(2, 8, 16, 16)
    first, second, third = model.stages[0]
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.zero_()
    assert torch.equal(second(features), features)
    assert torch.equal(model.stages[0](features), third(first(features)))


def test_a_skip_over_all_convolutions_of_a_stage_is_the_usual_one():
    every = build(ConvNet(widths=(8, 16), skip=True, skip_every=2), 10, generator())
    whole = build(ConvNet(widths=(8, 16), skip=True), 10, generator())
    assert torch.equal(every(images()), whole(images()))


def test_a_stem_is_a_convolution_without_norm_and_relu():
    model = build(ConvNet(widths=(16,), convs_per_stage=1, stem_width=8), 10, generator())
    assert model.stages[0].body[0].in_channels == 8
    assert (model.stem(images()) < 0).any() and model.stem.bias is not None
    assert model.stem(images()).shape == (4, 8, 32, 32)


def test_the_net_of_the_first_report_has_its_multiply_adds():
    """Its author's code has 190 M with one block of two convolutions a stage, and 435 M with two."""
    widths = (64, 128, 256, 256)
    for convs, million in ((2, 190), (4, 435)):
        flops = counted_cost(ConvNet(widths=widths, convs_per_stage=convs, stem_width=32), 10).flops_per_image
        assert round(flops / 2e6) == million


def test_without_bias_only_stem_and_bridges_keep_theirs():
    """As in the author's code, whose blocks have none whatever their norm."""
    option = ConvNet(widths=(8, 16), norm="none", skip=True, bridge_size=3, stem_width=4, conv_bias=False)
    convolutions = {name: module for name, module in build(option, 10).named_modules() if isinstance(module, nn.Conv2d)}
    with_bias = {name for name, module in convolutions.items() if module.bias is not None}
    assert len(convolutions) == 7 and with_bias == {"stem", "stages.0.bridge", "stages.1.bridge"}


def test_dropout_zeroes_features_in_training_only():
    model = build(ConvNet(widths=(8,), dropout=0.5), 10, generator())
    batch = images()
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(1)
    first = build(ConvNet(widths=(8,)), 10, generator(5)).state_dict()
    torch.manual_seed(2)
    again = build(ConvNet(widths=(8,)), 10, generator(5)).state_dict()
    other = build(ConvNet(widths=(8,)), 10, generator(6)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_he_initialisation_keeps_the_variance_of_a_deep_plain_net():
    model = build(ConvNet(widths=(64,), convs_per_stage=8, norm="none"), 10, generator())
    features = model.stages[0](images())
    assert 0.1 < features.square().mean() / images().square().mean() < 10  # a gain of 1 would leave 0.004


def test_weights_and_features_are_channels_last():
    model = build(ConvNet(widths=(8, 16)), 10, generator())
    features = model.stages[0](images())
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert model.stages[1].body[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("option", [{"norm": norm} for norm in NORMS] + [{"skip": True}])
def test_it_learns_a_tiny_problem(option):
    model = build(ConvNet(widths=(8, 16), norm_groups=4, **option), 4, generator())
    labels = torch.arange(16) % 4
    batch = torch.zeros(16, 3, 32, 32)
    for image, label in zip(batch, labels.tolist(), strict=True):  # a bright square in one of four places
        image[:, 16 * (label // 2) :, 16 * (label % 2) :] = 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()
    assert (model(batch).argmax(1) == labels).float().mean() > 0.9


def test_batch_norm_on_one_pixel_needs_two_images():
    deep = ConvNet(widths=(4,) * 6)
    assert smallest_batch(deep) == 2
    assert smallest_batch(ConvNet(widths=(4,) * 5)) == smallest_batch(ConvNet(widths=(4,) * 6, norm="layer")) == 1
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        build(deep, 10)(images(1))
