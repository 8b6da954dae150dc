"""RandAugment (Cubuk et al. 2020) of whole batches, with the values of torchvision's v2.RandAugment.

The magnitude is one for a whole run, so each operation and sign is one fixed change of an image, a variant. A
variant that moves pixels becomes a map of source pixels, one that changes each pixel alone a table of 256 values;
torchvision makes both, once. Nothing here waits for a GPU. As in torchvision, `Color` leaves grey images as they are,
and shifts are parts of the side.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from cifarsweep.data.seeding import generator
from cifarsweep.spec.image_shape import CIFAR

#: torchvision's operations, each with and without a sign, in the order of their variants here.
_MOVES = ("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_TABLES = ("Brightness", "Posterize", "Solarize")
_OTHERS = ("Color", "Contrast", "Sharpness", "AutoContrast", "Equalize")
_OPERATIONS = (*_MOVES, *_TABLES, *_OTHERS)
_UNSIGNED = ("Identity", "Posterize", "Solarize", "AutoContrast", "Equalize")
#: (operation, sign): the sign is +1 where the operation has none
VARIANTS = tuple((name, sign) for name in _OPERATIONS for sign in ((1,) if name in _UNSIGNED else (1, -1)))
_MOVED = sum(name in _MOVES for name, _ in VARIANTS)
_LOOKED_UP = _MOVED + sum(name in _TABLES for name, _ in VARIANTS)
#: magnitudes are 0 to 30
_BINS = 31
#: The value of the highest magnitude: tangent, part of the side, degrees, or the change of the factor 1.
_HIGHEST = {
    **dict.fromkeys(("ShearX", "ShearY"), 0.3),
    **dict.fromkeys(("TranslateX", "TranslateY"), 150 / 331),
    "Rotate": 30.0,
    **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9),
}

#: From pixels uint8 (B, side, side, channels) and their variants (B,) to new pixels.
Change = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Operations:
    """The operations of RandAugment on an epoch's images, in the order of training."""

    #: the variant of each round, int64 (rounds, N)
    variants: Tensor
    #: for every variant that moves pixels, the source of each pixel, int64 (V, side**2); side**2 is black
    sources: Tensor
    #: for every variant that changes pixels alone, the new value for each value, uint8 (W, 256)
    tables: Tensor
    magnitude: int

    def map(self, change: Callable[[Tensor], Tensor]) -> Operations:
        tensors: dict[str, Any] = {name: change(getattr(self, name)) for name in ("variants", "sources", "tables")}
        return replace(self, **tensors)

    def batch(self, rows: slice) -> Operations:
        return replace(self, variants=self.variants[:, rows])


def operation_plan(
    n: int, seed: int, epoch: int, rounds: int, magnitude: int, side: int = CIFAR.side
) -> Operations | None:
    """Draw operations and signs of an epoch, uniformly; None for no rounds."""
    if not rounds:
        return None
    draw = generator(seed, "randaugment", epoch)
    operation = torch.randint(0, len(_OPERATIONS), (rounds, n), generator=draw)
    sign = torch.randint(0, 2, (rounds, n), generator=draw)
    numbers = [[VARIANTS.index((name, s if (name, s) in VARIANTS else 1)) for s in (1, -1)] for name in _OPERATIONS]
    variants = torch.tensor(numbers)[operation, sign]
    return Operations(variants, _sources(magnitude, side), _tables(magnitude), magnitude)


def augmented(pixels: Tensor, plan: Operations, *, everywhere: bool | None = None) -> Tensor:
    """Apply the operations of a batch to uint8 (B, side, side, channels), which may be changed in place.

    On a CPU each operation gets only its own images. On a GPU it gets all (`everywhere`) and its results are selected:
    the values are the same, without a wait for the device.
    """
    everywhere = pixels.device.type != "cpu" if everywhere is None else everywhere
    for variants in plan.variants:
        for chosen, change in _changes(variants, plan):
            if everywhere:
                pixels = torch.where(chosen.view(-1, 1, 1, 1), change(pixels, variants), pixels)
            else:
                few = chosen.nonzero().squeeze(1)
                if len(few):
                    pixels[few] = change(pixels[few], variants[few])
    return pixels


def _changes(variants: Tensor, plan: Operations) -> Iterator[tuple[Tensor, Change]]:
    """Yield masks (B,) bool of images with their change; no image is in two masks."""
    yield (variants > 0) & (variants < _MOVED), partial(_move, plan)
    yield (variants >= _MOVED) & (variants < _LOOKED_UP), partial(_look_up, plan)
    for number in range(_LOOKED_UP, len(VARIANTS)):
        yield variants == number, partial(_other_operation, *VARIANTS[number], plan.magnitude)


def _move(plan: Operations, pixels: Tensor, variants: Tensor) -> Tensor:
    sources = plan.sources[variants.clamp(max=_MOVED - 1)]
    lines = pixels.flatten(1, 2)
    lines = torch.cat([lines, torch.zeros_like(lines[:, :1])], 1)
    image = torch.arange(len(lines), device=lines.device).unsqueeze(1)
    return lines[image, sources].view(pixels.shape)


def _look_up(plan: Operations, pixels: Tensor, variants: Tensor) -> Tensor:
    table = (variants - _MOVED).clamp(0, _LOOKED_UP - _MOVED - 1)
    return plan.tables[table.view(-1, 1, 1, 1), pixels.long()]


def _other_operation(name: str, sign: int, magnitude: int, pixels: Tensor, _: Tensor) -> Tensor:
    """Apply one of the operations that are neither maps nor tables."""
    from torchvision.transforms.v2 import functional as F  # late: it takes torch's compiler with it

    images = pixels.permute(0, 3, 1, 2)
    factor = 1.0 + sign * _value(name, magnitude) if name in _HIGHEST else 1.0
    found: Tensor
    match name:
        case "Color":
            found = F.adjust_saturation(images, factor)
        case "Contrast":
            found = F.adjust_contrast(images, factor)
        case "Sharpness":
            found = _sharpened(images, factor)
        case "AutoContrast":
            found = F.autocontrast(images)
        case _:
            with _default_counting():
                found = F.equalize(images)
    return found.permute(0, 2, 3, 1)


@contextlib.contextmanager
def _default_counting() -> Iterator[None]:
    """Let torch count pixels as without `determinism = "exact"`: whole numbers add up to the same in any order.

    Exact counting sorts all pixels first, and older releases of torch wait for the GPU in it, which no graph can hold.
    """
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def _sharpened(images: Tensor, factor: float) -> Tensor:
    """`adjust_sharpness` without its convolution, whose kernel comes from the host and may be computed in TF32.

    A smoothed pixel is (sum of the nine + 4 x its own) / 13, which is never half-way between two whole numbers.
    """
    output = images.to(torch.float32, copy=True)
    rows = output[..., :-2, :] + output[..., 1:-1, :] + output[..., 2:, :]
    nine = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = output[..., 1:-1, 1:-1]
    smooth = nine.add_(inner, alpha=4).div_(13).round_()
    inner.add_(smooth.sub_(inner), alpha=1.0 - factor)
    return output.clamp_(0, 255).to(torch.uint8)


def _value(name: str, magnitude: int, scale: int = 1) -> float:
    """Return the value of a magnitude for an operation, in float32 steps as torchvision has them."""
    return float(torch.linspace(0.0, _HIGHEST[name] * scale, _BINS)[magnitude])


@lru_cache(maxsize=4)
def _sources(magnitude: int, side: int) -> Tensor:
    # Number the pixels from 1 and let torchvision move them; its black 0 becomes the number of the black pixel.
    numbered = torch.arange(1.0, side * side + 1).view(1, side, side)
    maps = [_moved(numbered, name, sign, magnitude) for name, sign in VARIANTS[:_MOVED]]
    found = torch.stack(maps).view(_MOVED, -1).long() - 1
    return torch.where(found < 0, side * side, found)


def _moved(image: Tensor, name: str, sign: int, magnitude: int) -> Tensor:
    from torchvision.transforms.v2 import functional as F  # late: it takes torch's compiler with it

    scale = image.shape[-1] if name.startswith("Translate") else 1
    amount = sign * _value(name, magnitude, scale) if name in _HIGHEST else 0.0
    angle = math.degrees(math.atan(amount))
    found: Tensor = image
    match name:
        case "ShearX" | "ShearY":
            shear = [angle, 0.0] if name == "ShearX" else [0.0, angle]
            found = F.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, center=[0, 0])
        case "TranslateX" | "TranslateY":
            by = [int(amount), 0] if name == "TranslateX" else [0, int(amount)]
            found = F.affine(image, angle=0.0, translate=by, scale=1.0, shear=[0.0, 0.0])
        case "Rotate":
            found = F.rotate(image, amount)
    return found


@lru_cache(maxsize=4)
def _tables(magnitude: int) -> Tensor:
    from torchvision.transforms.v2 import functional as F  # late: it takes torch's compiler with it

    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 256)
    brightness = _value("Brightness", magnitude)
    bits = int((8 - torch.tensor(magnitude) / ((_BINS - 1) / 4)).round())
    threshold = 255 * float(torch.linspace(1.0, 0.0, _BINS)[magnitude])
    rows = [
        F.adjust_brightness(values, 1.0 + brightness),
        F.adjust_brightness(values, 1.0 - brightness),
        F.posterize(values, bits),
        F.solarize(values, threshold),
    ]
    return torch.cat(rows).view(-1, 256)
