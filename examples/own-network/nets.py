"""A network, an optimizer, a loss, an augmentation and a metric of one's own."""

import torch
import torch.nn.functional as F
from blocks import Gated
from torch import Tensor, nn


class Wide(nn.Module):
    """Gated convolutions of one width, then a mean over all pixels."""

    def __init__(self, classes: int, channels: int, width: int = 16, depth: int = 2, gate: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Gated(width, gate) for _ in range(depth)))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, side, side) to logits (N, classes)."""
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


class Signs(torch.optim.Optimizer):
    """Steps of one size along the sign of a momentum."""

    def __init__(self, params: object, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """Take a step. What it remembers is in `state`, and so in checkpoints."""
        for group in self.param_groups:
            for parameter in group["params"]:
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.sub_(mean.sign() * group["lr"])


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross entropy that weighs images by how unlikely their class still is (Lin et al. 2017)."""
    each = F.cross_entropy(logits, labels, reduction="none")
    return ((1 - (-each).exp()) ** gamma * each).mean()


def speckle(images: Tensor, scale: float = 0.1) -> Tensor:
    """Noise on each pixel, from torch's own generator, so that it comes again."""
    return images + scale * torch.randn_like(images)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the logit of the right class is above the next one, as a mean over images."""
    right = logits.gather(1, labels.unsqueeze(1))
    others = logits.scatter(1, labels.unsqueeze(1), float("-inf"))
    return (right.squeeze(1) - others.amax(1)).mean()
