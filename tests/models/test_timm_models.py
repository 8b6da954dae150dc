import sys

import pytest
import torch
import torch.nn.functional as F

from cifarsweep.errors import DataError, SpecError
from cifarsweep.models import build, cost, smallest_batch, timm_models
from cifarsweep.models.determinism import inexact_on_gpu
from cifarsweep.models.listing import rows
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.settings import Timm

pytest.importorskip("timm", reason="timm is an extra and is not installed")

VIT = Timm(name="timm:test_vit", img_size=32)
RESNET = Timm(name="timm:test_resnet", img_size=32)
both = pytest.mark.parametrize("settings", [VIT, RESNET], ids=lambda settings: settings.name)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@both
def test_images_become_logits_of_our_classes_and_every_weight_learns(settings):
    model = build(settings, 7, generator())
    logits = model(torch.randn(4, 3, 32, 32))
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 6])).backward()
    assert logits.shape == (4, 7)
    assert all(weight.grad is not None for weight in model.parameters())


@both
def test_it_learns_a_tiny_problem(settings):
    labels = torch.arange(16) % 4
    images = torch.zeros(16, 3, 32, 32)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 16 * (label // 2) :, 16 * (label % 2) :] = 1
    model = build(settings, 4, generator())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert (model(images).argmax(1) == labels).float().mean() > 0.9


@both
def test_weights_follow_the_generator_and_the_global_one_is_left_alone(settings):
    before = torch.get_rng_state()
    first, again, other = (build(settings, 10, generator(seed)).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_images_are_resized_to_what_the_network_wants():
    assert timm_models.input_size(Timm(name="timm:vit_base_patch8_224")) == 224
    assert timm_models.input_size(Timm(name="timm:dm_nfnet_f0")) == 192
    seen = []
    model = build(Timm(name="timm:test_resnet", img_size=48), 10)
    model.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    model(torch.zeros(1, 3, 32, 32))
    assert seen == [(1, 3, 48, 48)]


@pytest.mark.parametrize("shape", [ImageShape(28, 1), ImageShape(64, 3)], ids=str)
def test_images_of_any_shape_are_resized_and_may_be_grey(shape):
    settings = Timm(name="timm:test_resnet", img_size=48)
    model = build(settings, 10, generator(), shape)

    assert model(torch.zeros(2, shape.channels, shape.side, shape.side)).shape == (2, 10)
    assert cost(settings, 10, shape).params == sum(weight.numel() for weight in model.parameters())
    assert smallest_batch(settings, shape) in (1, 2) and inexact_on_gpu(settings, 10, shape) == ()


def test_a_resize_keeps_an_even_picture_even():
    model = timm_models.Resized(torch.nn.Identity(), 80)
    torch.testing.assert_close(model(torch.full((1, 3, 32, 32), 0.25)), torch.full((1, 3, 80, 80), 0.25))


def test_the_models_of_the_transfer_study_cost_what_is_known_of_them():
    vit, nfnet = (cost(Timm(name=f"timm:{name}"), 1000) for name in ("vit_base_patch8_224", "dm_nfnet_f0"))
    assert (round(vit.params / 1e6, 1), round(nfnet.params / 1e6, 1)) == (86.6, 71.5)
    assert 155e9 < vit.flops_per_image < 158e9  # 78.2 GMAC, as timm's table of benchmarks has it
    assert 13.5e9 < nfnet.flops_per_image < 15e9  # 7.2 GMAC at 192x192


def test_batch_norm_on_one_pixel_is_found_by_trying():
    assert smallest_batch(Timm(name="timm:resnet18", img_size=32)) == 2
    assert smallest_batch(Timm(name="timm:resnet18", img_size=64)) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Timm(name="timm:resnett18"), "no model 'timm:resnett18'. The nearest: .*timm:resnet18"),
        (Timm(name="timm:vit_base_patch8_224.nonsense"), r"no model .* The nearest: timm:vit_base_patch8_224\."),
        (Timm(name="timm:test_vit", img_size=40), "model.img_size: the patch size 16 of timm:test_vit does not divide"),
        (Timm(name="timm:test_resnet", img_size=8, pretrained=True), "--set model.pretrained=false"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_timm_can_not_build_is_refused_with_a_remedy(settings, says, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises((SpecError, DataError), match=says):
        build(settings, 10)


def test_weights_are_looked_for_without_fetching_them(monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: asked.append(url))
    timm_models.check_weights(Timm(name="timm:test_vit", pretrained=True))
    assert len(asked) == 1 and asked[0].endswith("model.safetensors")


@pytest.mark.parametrize(
    ("name", "says"), [("test_vit", "can't be fetched: no route.*model.pretrained=false"), ("vit_7b", "no model")]
)
def test_weights_that_can_not_be_had_are_a_sentence(name, says, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route\nto the host")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", fail)
    with pytest.raises((DataError, SpecError), match=says):
        timm_models.check_weights(Timm(name=f"timm:{name}", pretrained=True))


def test_without_timm_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SpecError, match=r"timm:test_vit needs the package timm.*pip install 'timm>=1.0'"):
        build(VIT, 10)


def test_a_network_that_pools_by_a_learned_query_has_a_cost():
    settings = Timm(name="timm:test_vit3", img_size=32)
    found = cost(settings, 10)
    assert found.params == sum(weight.numel() for weight in build(settings, 10, generator()).parameters())
    assert found.flops_per_image > 2 * found.params  # each of its weights is used for several patches


def test_listing_names_costs_and_refuses_what_it_does_not_know():
    assert [(row.name, row.options, row.size) for row in rows(["vit"], None, 10, None)] == [
        ("vit", "", 32),
        ("vit", "stem = conv", 32),
    ]
    (row,) = rows([], "test_resnet", 100, 64)
    assert (row.name, row.size) == ("timm:test_resnet", 64)
    assert row.params == cost(Timm(name="timm:test_resnet", img_size=64), 100).params
    for wanted, pattern, says in (
        (["resnet17"], None, "Did you mean 'resnet18'"),
        ([], "nothing_like_this*", "no model of timm matches"),
        ([], "*", "narrow it"),
    ):
        with pytest.raises(SpecError, match=says):
            rows(wanted, pattern, 10, None)
