"""What an import did to the images, in sentences: what was left out, stretched, cut off or lost its colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cifarsweep.data.image_decoding import DecodedImage, Fit
from cifarsweep.data.import_layout import more
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.text import quoted

#: Width over height, or height over width, from which an image is not called square.
_OBLONG = 1.01


@dataclass(slots=True)
class Changes:
    """Counts images as they are decoded; their order does not matter."""

    shape: ImageShape
    fit: Fit
    images: int = 0
    oblong: int = 0
    longest: tuple[float, str, tuple[int, int]] = (-1.0, "", (1, 1))
    """Of the most oblong image: long side over short side, negative, name, and width and height."""
    small: int = 0
    coloured: int = 0
    others: list[str] = field(default_factory=list)
    """Files that are no images."""

    def add(self, name: str, image: DecodedImage) -> None:
        self.images += 1
        short, long = sorted(image.size)
        if long / short > _OBLONG:
            self.oblong += 1
            self.longest = min(self.longest, (-long / short, name, image.size))
        self.small += long < self.shape.side
        self.coloured += image.colours

    def sentences(self) -> Iterator[str]:
        """Yield what the user should know."""
        if self.others:
            names = sorted(self.others)
            files = "1 file is" if len(names) == 1 else f"{len(names):,} files are"
            what = "no JPEG, PNG or WebP image" + "s" * (len(names) > 1)
            yield f"{files} {what} and left out: {quoted(names[0])}{more(names, len(names))}"
        if self.oblong:
            yield self._of_the_oblong()
        if self.small:
            yield f"{self._some(self.small)} smaller than {self.shape.side}x{self.shape.side} and enlarged"
        if self.shape.channels == 1 and self.coloured:
            yield f"{self._some(self.coloured)} in colour, of which --grey keeps the brightness"
        if self.shape.channels > 1 and self.images and not self.coloured:
            yield "all images are grey: --grey keeps them as one channel, a third of the bytes and of the first layer"

    def _of_the_oblong(self) -> str:
        _, name, (width, height) = self.longest
        ratio = max(width, height) / min(width, height)
        lost = f"{100 * (1 - 1 / ratio):.0f} %"
        example = f"{quoted(name)} of {width}x{height}"
        match self.fit:
            case "stretch":
                return (
                    f"{self._some(self.oblong)} not square and stretched, at most by a factor of {ratio:.2f} "
                    f"({example}); --fit crop or --fit pad keeps their aspect ratio"
                )
            case "crop":
                return f"{self._some(self.oblong)} not square and cropped, at most by {lost} ({example})"
            case "pad":
                return f"{self._some(self.oblong)} not square and padded, at most to {lost} of black ({example})"

    def _some(self, count: int) -> str:
        if count == self.images:
            return "the image is" if count == 1 else f"all {count:,} images are"
        return f"{count:,} of {self.images:,} images {'is' if count == 1 else 'are'}"
