"""The block of the network, in a file of its own: `[code]` names it too."""

from torch import Tensor, nn


class Gated(nn.Module):
    """A convolution with a norm and a skip; its output may be gated by another convolution."""

    def __init__(self, width: int, gate: bool) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.gate = nn.Conv2d(width, width, 1) if gate else None

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, width, side, side) to others of that shape."""
        found = self.norm(self.conv(images)).relu()
        return images + (found if self.gate is None else found * self.gate(images).sigmoid())
