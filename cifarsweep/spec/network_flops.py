"""The arithmetic of our own networks from their settings alone, so that nobody has to build one to count it.

A multiply-add counts as two; norms, activations, pooling and biases as nothing. A test compares it with what is counted
on the networks.
"""

from __future__ import annotations

from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.settings import ConvNet, Model, OwnModel, ResNet, ResNet9, Timm, ViT

_RESNET_BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
_NARROWEST = 8


def forward_flops(model: Model, classes: int, shape: ImageShape = CIFAR) -> int | None:
    """Return the FLOPs of one image, forward; None for one of timm or of the user, which only its code can count."""
    match model:
        case ConvNet():
            return _convnet(model, shape) + 2 * model.widths[-1] * classes
        case ResNet9():
            return _resnet9(shape) + 2 * 512 * classes
        case ResNet():
            deep = model.name in ("resnet18", "resnet34")
            return _resnet(model, shape) + 2 * (512 if deep else 2048) * classes
        case ViT():
            return _vit(model, shape) + 2 * model.width * classes
        case Timm() | OwnModel():
            return None


def _conv(size: int, before: int, width: int, kernel: int) -> int:
    """A convolution whose output is so many pixels a side."""
    return 2 * size * size * before * width * kernel * kernel


def _convnet(model: ConvNet, shape: ImageShape) -> int:
    flops = _conv(shape.side, shape.channels, model.stem_width, 3)
    before = model.stem_width or shape.channels
    for stage, width in enumerate(model.widths):
        size = shape.side >> stage
        flops += _conv(size, before, width, model.kernel_size)
        flops += (model.convs_per_stage - 1) * _conv(size, width, width, model.kernel_size)
        flops += _conv(size, before, width, model.bridge_size) if model.skip and before != width else 0
        before = width
    return flops


def _resnet9(shape: ImageShape) -> int:
    whole, half, quarter, eighth = (shape.side >> pools for pools in range(4))
    first = (whole, shape.channels, 64), (whole, 64, 128), (half, 128, 128), (half, 128, 128)
    last = (half, 128, 256), (quarter, 256, 512), (eighth, 512, 512), (eighth, 512, 512)
    return sum(_conv(*layer, 3) for layer in (*first, *last))


def _resnet(model: ResNet, shape: ImageShape) -> int:
    blocks = _RESNET_BLOCKS[model.name]
    plain = model.name in ("resnet18", "resnet34")
    flops, before, size = _conv(shape.side, shape.channels, 64, 3), 64, shape.side
    for stage, count in enumerate(blocks):
        width = 64 << stage
        after = width if plain else 4 * width
        for index in range(count):
            halved = stage > 0 and index == 0
            size_before, size = size, -(-size // 2) if halved else size
            if plain:
                flops += _conv(size, before, width, 3) + _conv(size, width, width, 3)
            else:
                flops += _conv(size_before, before, width, 1)
                flops += _conv(size, width, width, 3) + _conv(size, width, after, 1)
            flops += _conv(size, before, after, 1) if halved or before != after else 0
            before = after
    return flops


def _vit(model: ViT, shape: ImageShape) -> int:
    width, side = model.width, shape.side // model.patch_size
    tokens = side * side + 1
    hidden = max(1, round(width * model.mlp_ratio))

    def block(queries: int) -> int:
        projected = 2 * width * width * (2 * queries + 2 * tokens)  # queries and output; keys and values
        mixed = 4 * queries * tokens * width
        return projected + mixed + 4 * queries * width * hidden

    return _vit_stem(model, shape, side) + (model.depth - 1) * block(tokens) + block(1)


def _vit_stem(model: ViT, shape: ImageShape, side: int) -> int:
    if model.stem == "patch":
        return _conv(side, shape.channels, model.width, model.patch_size)
    flops, before, size = 0, shape.channels, shape.side
    for left in range(model.patch_size.bit_length() - 1, 0, -1):
        width, size = max(model.width >> left, _NARROWEST), size // 2
        flops += _conv(size, before, width, 3)
        before = width
    return flops + _conv(side, before, model.width, 1)
