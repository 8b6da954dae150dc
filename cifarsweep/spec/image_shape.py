"""The shape of a data set's images."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST, LARGEST = 8, 256
"""Pixels a side that the images of a data set may have."""


@dataclass(frozen=True, slots=True)
class ImageShape:
    """Square images: pixels a side, and 3 channels for colour or 1 for grey."""

    side: int = 32
    channels: int = 3

    @property
    def bytes(self) -> int:
        """The size of an image, a byte for each pixel and channel."""
        return self.side * self.side * self.channels

    def __str__(self) -> str:
        return f"{self.side}x{self.side} {'grey' if self.channels == 1 else 'RGB'}"


#: The shape of CIFAR's images, and of those data sets, which are known by name before anybody has them.
CIFAR = ImageShape()
OF_CIFAR_SHAPE = ("cifar10", "cifar100", "digits")
