"""Which settings images of a shape can't have: networks, augmentations and constants for each channel."""

from __future__ import annotations

from cifarsweep.spec.image_shape import CIFAR, OF_CIFAR_SHAPE, ImageShape
from cifarsweep.spec.settings import Augment, ConvNet, Model, Normalize, Settings, ViT

#: Whole numbers that may fit where they are smaller and where they are larger, or not.
OF_SHAPE = ("model.patch_size", "augment.crop", "augment.cutout")


def misfit(settings: Settings, shape: ImageShape | None = None) -> str | None:
    """Return why images of this shape can't be trained on so, with the key and what to do; None if they can.

    Without a shape it is that of data sets known by name, and others fit. What only timm knows is not asked.
    """
    if shape is None and settings.dataset not in OF_CIFAR_SHAPE:
        return None
    shape = shape or CIFAR
    found = _of_network(settings.model, shape) or _of_augment(settings.augment, shape)
    return found or _of_normalize(settings.normalize, shape)


def _of_network(model: Model, shape: ImageShape) -> str | None:
    match model:
        case ConvNet():
            most = shape.side.bit_length() - (model.norm == "instance")
            if len(model.widths) <= most:
                return None
            why = ", and instance norm needs more than one pixel" if model.norm == "instance" else ""
            return (
                f"model.widths: {len(model.widths)} stages are too many for images of {shape}: each but the first "
                f"halves them{why}; give at most {most} widths"
            )
        case ViT() if shape.side % model.patch_size:
            halves = model.stem == "conv"
            sizes = [size for size in range(1, shape.side + 1) if shape.side % size == 0]
            allowed = ", ".join(str(size) for size in sizes if not halves or size.bit_count() == 1)
            return (
                f"model.patch_size: {model.patch_size} does not divide the side of images of {shape}; use one of "
                f"{allowed}"
            )
        case _:
            return None


def _of_augment(augment: Augment, shape: ImageShape) -> str | None:
    half = shape.side // 2
    if augment.crop > half:
        return (
            f"augment.crop: a padding of {augment.crop} pixels can hide more than half of images of {shape}; use at "
            f"most {half}"
        )
    if augment.cutout > shape.side:
        return f"augment.cutout: {augment.cutout} pixels are more than images of {shape} have; use at most {shape.side}"
    return None


def _of_normalize(normalize: Normalize, shape: ImageShape) -> str | None:
    if normalize.mean is None or len(normalize.mean) == shape.channels:
        return None
    wanted = "1 number" if shape.channels == 1 else f"{shape.channels} numbers"
    return f"normalize.mean: {len(normalize.mean)} for images of {shape}; give {wanted} as mean and as std"
