"""What holds for every family of networks but timm's, whose own tests are next door, and the convnet's options."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarsweep.models import build, counted_cost, smallest_batch
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.settings import ConvNet, ResNet, ResNet9, ViT

SMALL = {
    "resnet9": ResNet9(),
    "resnet18": ResNet(name="resnet18"),
    "resnet50": ResNet(name="resnet50"),
    "vit": ViT(width=32, depth=2, heads=4, patch_size=8),
    "vit with conv stem": ViT(stem="conv", width=32, depth=2, heads=4, patch_size=8),
}
families = pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def squares(side, count=16):
    """A bright square in one of four places, which is the label."""
    labels = torch.arange(count) % 4
    images = torch.zeros(count, 3, side, side)
    half = side // 2
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, half * (label // 2) :, half * (label % 2) :] = 1
    return images.to(memory_format=torch.channels_last), labels


@pytest.mark.parametrize(
    ("settings", "millions", "gflop"),
    [
        (ResNet9(), 6.573, 0.76),
        (ResNet(name="resnet18"), 11.174, 1.11),
        (ResNet(name="resnet34"), 21.282, 2.32),
        (ResNet(name="resnet50"), 23.521, 2.60),
        (ResNet(name="resnet101"), 42.513, 5.02),
        (ResNet(name="resnet152"), 58.157, 7.44),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_residual_nets_cost_what_is_known_of_them(settings, millions, gflop):
    price = counted_cost(settings, 10)
    assert round(price.params / 1e6, 3) == millions
    assert round(price.flops_per_image / 1e9, 2) == gflop


@pytest.mark.parametrize("classes", [10, 100])
def test_a_vit_costs_what_its_description_says(classes):
    width, depth, hidden, patch, tokens = 64, 3, 128, 4, 65
    price = counted_cost(ViT(width=width, depth=depth, heads=4, mlp_ratio=2.0, patch_size=patch), classes)
    block = 4 * width * width + 4 * width + 2 * width * hidden + hidden + width + 4 * width
    embedding = 3 * patch**2 * width + width + (tokens + 1) * width
    assert price.params == depth * block + embedding + 2 * width + width * classes + classes
    products = 4 * width * width + 2 * width * hidden + 2 * tokens * width
    # In the last block the patches are keys and values, and only the class token goes further.
    last = products + 2 * (tokens - 1) * width * width
    multiply_adds = (depth - 1) * tokens * products + last + (tokens - 1) * 3 * patch**2 * width + width * classes
    assert price.flops_per_image == 2 * multiply_adds


@families
def test_images_become_logits_and_every_weight_learns(settings):
    model = build(settings, 7, generator())
    logits = model(squares(32, count=2)[0])
    F.cross_entropy(logits, torch.tensor([0, 6])).backward()
    assert logits.shape == (2, 7)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@families
def test_weights_come_from_the_generator_alone(settings):
    torch.manual_seed(1)
    first = build(settings, 10, generator(5)).state_dict()
    torch.manual_seed(2)
    again, other = build(settings, 10, generator(5)).state_dict(), build(settings, 10, generator(6)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if first[name].dim() > 1]
    assert all(not torch.equal(first[name], other[name]) for name in drawn)


@families
def test_activations_of_a_new_net_neither_vanish_nor_explode(settings):
    model = build(settings, 10, generator())
    logits = model(torch.randn(4, 3, 32, 32, generator=generator()))
    assert 1e-2 < logits.std() < 30


@families
def test_it_learns_a_tiny_problem(settings):
    transformer = isinstance(settings, ViT)
    images, labels = squares(32 if transformer else 8, count=8)
    model = build(settings, 4, generator())
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3) if transformer else torch.optim.SGD(weights, lr=0.01)
    for _ in range(25 if transformer else 10):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert (model(images).argmax(1) == labels).float().mean() > 0.9


@families
def test_nothing_pools_adaptively_and_convolutions_are_channels_last(settings):
    model = build(settings, 10)
    kinds = {type(module).__name__ for module in model.modules()}
    assert not any("Adaptive" in kind for kind in kinds)
    kernels = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert kernels and all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@families
def test_two_runs_give_the_same_bits(settings):
    def gradients():
        model = build(settings, 4, generator())
        images, labels = squares(32, count=2)
        F.cross_entropy(model(images), labels).backward()
        return [weight.grad for weight in model.parameters()]

    assert all(torch.equal(first, again) for first, again in zip(gradients(), gradients(), strict=True))


INITS = {"convnet": ConvNet(widths=(8, 8), norm="none", skip=True), "resnet9": ResNet9(), "resnet": SMALL["resnet18"]}
inits = pytest.mark.parametrize("settings", INITS.values(), ids=INITS)


@inits
def test_weights_as_torch_draws_them_are_the_bits_of_torch(settings):
    """The first layer as torch draws it from its global generator, which ours doesn't use."""
    model = build(settings.model_copy(update={"init": "torch"}), 10, generator(5))
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    torch.manual_seed(5)
    like = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None)
    assert torch.equal(first.weight, like.weight)
    assert first.bias is None or torch.equal(first.bias, like.bias)
    assert model.head.bias.abs().sum() > 0


@inits
def test_with_zeros_for_weights_only_the_last_bias_learns(settings):
    model = build(settings.model_copy(update={"init": "zero"}), 4, generator())
    images, labels = squares(32, count=4)
    F.cross_entropy(model(images), labels[[0, 0, 1, 2]]).backward()
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    learning = [parameter for layer in layers for parameter in layer.parameters() if parameter.grad.abs().sum() > 0]
    assert len(learning) == 1 and learning[0] is model.head.bias
    assert not any(parameter.abs().sum() for layer in layers for parameter in layer.parameters())


def test_a_convolutional_stem_halves_once_for_each_power_of_two():
    stem = build(ViT(stem="conv", patch_size=8, width=64), 10).stem
    convolutions = [layer for layer in stem if isinstance(layer, nn.Conv2d)]
    assert [(layer.out_channels, layer.stride[0]) for layer in convolutions] == [(8, 2), (16, 2), (32, 2), (64, 1)]
    assert stem(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 4, 4)


def test_dropout_of_a_vit_acts_in_training_only():
    model = build(ViT(width=32, depth=1, heads=4, dropout=0.5), 10, generator())
    images, _ = squares(32, count=2)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("settings", "side", "least"),
    [
        (ViT(stem="conv", patch_size=32, width=32, depth=1), 32, 2),
        (ViT(stem="patch", patch_size=32, width=32, depth=1), 32, 1),
        (ViT(stem="conv", patch_size=16, width=32, depth=1), 32, 1),
        (ViT(stem="conv", patch_size=8, width=32, depth=1), 8, 2),
        (ResNet9(), 32, 1),
        (ResNet9(), 15, 2),
        (ResNet9(), 16, 1),
        (ResNet(name="resnet18"), 32, 1),
        (ResNet(name="resnet18"), 8, 2),
        (ResNet(name="resnet18"), 9, 1),
        (ConvNet(widths=(4,) * 6), 32, 2),
        (ConvNet(widths=(4,) * 6), 64, 1),
        (ConvNet(widths=(4,) * 5), 28, 2),
    ],
)
def test_the_smallest_batch_is_the_smallest_that_trains(settings, side, least):
    shape = ImageShape(side, 1)
    assert smallest_batch(settings, shape) == least
    model = build(settings, 2, shape=shape).train()
    model(torch.zeros(least, 1, side, side))
    if least > 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(torch.zeros(least - 1, 1, side, side))
