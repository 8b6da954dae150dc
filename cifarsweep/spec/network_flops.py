"""The arithmetic of our own networks from their settings alone, so that nobody has to build one to count it.

A multiply-add counts as two; norms, activations, pooling and biases as nothing. A test compares it with what is counted
on the networks.
"""

from __future__ import annotations

from cifarsweep.spec.settings import ConvNet, Model, ResNet, ResNet9, Timm, ViT

#: Pixels a side and channels of the images.
IMAGE_SIZE, IMAGE_CHANNELS = 32, 3
_RESNET_BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
_NARROWEST = 8


def forward_flops(model: Model, classes: int) -> int | None:
    """Return the FLOPs of one image, forward; None for a model of timm, which only timm can count."""
    match model:
        case ConvNet():
            return _convnet(model) + 2 * model.widths[-1] * classes
        case ResNet9():
            return _resnet9() + 2 * 512 * classes
        case ResNet():
            deep = model.name in ("resnet18", "resnet34")
            return _resnet(model) + 2 * (512 if deep else 2048) * classes
        case ViT():
            return _vit(model) + 2 * model.width * classes
        case Timm():
            return None


def _conv(size: int, before: int, width: int, kernel: int) -> int:
    """A convolution whose output is so many pixels a side."""
    return 2 * size * size * before * width * kernel * kernel


def _convnet(model: ConvNet) -> int:
    flops = _conv(IMAGE_SIZE, IMAGE_CHANNELS, model.stem_width, 3)
    before = model.stem_width or IMAGE_CHANNELS
    for stage, width in enumerate(model.widths):
        size = IMAGE_SIZE >> stage
        flops += _conv(size, before, width, model.kernel_size)
        flops += (model.convs_per_stage - 1) * _conv(size, width, width, model.kernel_size)
        flops += _conv(size, before, width, model.bridge_size) if model.skip and before != width else 0
        before = width
    return flops


def _resnet9() -> int:
    layers = ((32, 3, 64), (32, 64, 128), (16, 128, 128), (16, 128, 128), (16, 128, 256), (8, 256, 512))
    return sum(_conv(*layer, 3) for layer in (*layers, (4, 512, 512), (4, 512, 512)))


def _resnet(model: ResNet) -> int:
    blocks = _RESNET_BLOCKS[model.name]
    plain = model.name in ("resnet18", "resnet34")
    flops, before = _conv(IMAGE_SIZE, IMAGE_CHANNELS, 64, 3), 64
    for stage, count in enumerate(blocks):
        size, width = IMAGE_SIZE >> stage, 64 << stage
        after = width if plain else 4 * width
        for index in range(count):
            halved = stage > 0 and index == 0
            if plain:
                flops += _conv(size, before, width, 3) + _conv(size, width, width, 3)
            else:
                flops += _conv(2 * size if halved else size, before, width, 1)
                flops += _conv(size, width, width, 3) + _conv(size, width, after, 1)
            flops += _conv(size, before, after, 1) if halved or before != after else 0
            before = after
    return flops


def _vit(model: ViT) -> int:
    width, side = model.width, IMAGE_SIZE // model.patch_size
    tokens = side * side + 1
    hidden = max(1, round(width * model.mlp_ratio))

    def block(queries: int) -> int:
        projected = 2 * width * width * (2 * queries + 2 * tokens)  # queries and output; keys and values
        mixed = 4 * queries * tokens * width
        return projected + mixed + 4 * queries * width * hidden

    return _vit_stem(model, side) + (model.depth - 1) * block(tokens) + block(1)


def _vit_stem(model: ViT, side: int) -> int:
    if model.stem == "patch":
        return _conv(side, IMAGE_CHANNELS, model.width, model.patch_size)
    flops, before, size = 0, IMAGE_CHANNELS, IMAGE_SIZE
    for left in range(model.patch_size.bit_length() - 1, 0, -1):
        width, size = max(model.width >> left, _NARROWEST), size // 2
        flops += _conv(size, before, width, 3)
        before = width
    return flops + _conv(side, before, model.width, 1)
