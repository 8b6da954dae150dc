"""Mixup and cutmix of normalised batches, as torchvision defines them: each image is mixed with the one before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cifarsweep.data.erasing import inside
from cifarsweep.data.seeding import derive_seed, generator
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.spec.settings import Augment


@dataclass(frozen=True, eq=False)
class Mix:
    """The mixing of an epoch's batches: the batch that begins at image `i` uses row `i` of each tensor (N, ...).

    So the plan does not depend on the batch size.
    """

    #: the part of an image's own label that is kept, float64; for mixup also the part of its pixels
    share: Tensor
    #: the pixels that cutmix takes from the other image: top, left, bottom, right, int64
    box: Tensor
    #: True where the batch is mixed by cutmix, else by mixup
    cut: Tensor
    classes: int

    def map(self, change: Callable[[Tensor], Tensor]) -> Mix:
        return replace(self, share=change(self.share), box=change(self.box), cut=change(self.cut))

    def batch(self, start: int) -> Mix:
        """Return the plan of the batch that begins at image `start`, as views (1, ...)."""
        return self.map(lambda tensor: tensor[start : start + 1])


def mix_plan(n: int, seed: int, epoch: int, augment: Augment, classes: int, side: int = CIFAR.side) -> Mix | None:
    """Draw the plan of an epoch; None if nothing is mixed.

    Shares are of Beta(alpha, alpha) (Zhang et al. 2018); boxes cover the rest, cut off at the border, and labels
    follow the area that a box covers (Yun et al. 2019).
    """
    if not (augment.mixup or augment.cutmix):
        return None
    shares = _shares(n, seed, epoch, augment.cutmix, "cutmix")
    box, left = _boxes(shares, side, generator(seed, "cutmix", epoch))
    if augment.mixup and augment.cutmix:
        cut = torch.rand(n, generator=generator(seed, "mix", epoch)) < 0.5
    else:
        cut = torch.full((n,), bool(augment.cutmix))
    share = torch.where(cut, left, _shares(n, seed, epoch, augment.mixup, "mixup"))
    if augment.mixup_prob < 1:
        plain = torch.rand(n, generator=generator(seed, "mixup probability", epoch)) >= augment.mixup_prob
        share, cut = torch.where(plain, 1.0, share), cut & ~plain
    return Mix(share, box, cut, classes)


def mix(images: Tensor, labels: Tensor, plan: Mix) -> Tensor:
    """Mix images (B, channels, side, side) in place by a batch's plan; return labels as probabilities, (B, classes)."""
    share = plan.share[0]
    taken = inside(plan.box, images.shape[-1])[0]
    kept = torch.where(plan.cut[0], (~taken).double(), share)
    _add_neighbour(images, kept)
    wanted = (labels.unsqueeze(1) == torch.arange(plan.classes, device=labels.device)).float()
    _add_neighbour(wanted, share)
    return wanted


def _add_neighbour(rows: Tensor, kept: Tensor) -> None:
    """Keep the part `kept` (float64) of each row, and take the rest from the row before it."""
    neighbour = rows.roll(1, 0).mul_((1 - kept).float())
    rows.mul_(kept.float()).add_(neighbour)


def _shares(n: int, seed: int, epoch: int, alpha: float, purpose: str) -> Tensor:
    if not alpha:
        return torch.ones(n, dtype=torch.float64)
    # numpy, because torch's Beta draws from the global generator only
    return torch.from_numpy(np.random.default_rng(derive_seed(seed, f"{purpose} share", epoch)).beta(alpha, alpha, n))


def _boxes(share: Tensor, side: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw boxes int64 (N, 4) around a uniform pixel; return the uncovered part of the image too, float64 (N,)."""
    centre = torch.randint(0, side, (len(share), 2), generator=draw)
    half = (0.5 * (1 - share).sqrt() * side).long().unsqueeze(1)
    box = torch.cat([centre - half, centre + half], 1).clamp_(0, side)
    height, width = (box[:, 2:] - box[:, :2]).unbind(1)
    return box, 1 - (height * width) / (side * side)
