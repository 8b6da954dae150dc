"""Single test images of an installed data set, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from cifarsweep.data import catalog, tensor_file
from cifarsweep.errors import DataError

_LABEL_BYTES = 8
#: Pixels a side of a picture at most: larger images are made smaller, so that pages stay small.
_MOST = 128


@dataclass(frozen=True, slots=True)
class Picture:
    """A test image: its place in the test set, the name of its class, and a PNG of `side` pixels a side."""

    place: int
    label: str
    png: bytes
    side: int = 32


def read_pictures(dataset: str, sha256: str, places: Sequence[int]) -> list[Picture] | None:
    """Return these test images; None if the images with that digest are not on this machine, or can't be read.

    Only these images are read, so that damage in others goes unseen.
    """
    from PIL import Image

    try:
        header = tensor_file.read_header(path := catalog.path_of(dataset))
        if header.sha256 != sha256 or not all(0 <= place < header.test for place in places):
            return None
        size, mode = header.shape.bytes, "L" if header.shape.channels == 1 else "RGB"
        images = header.start + header.train * (size + _LABEL_BYTES)
        labels = images + header.test * size
        found = []
        with path.open("rb") as file:
            for place in places:
                file.seek(images + place * size)
                pixels = file.read(size)
                file.seek(labels + place * _LABEL_BYTES)
                label = header.classes[int.from_bytes(file.read(_LABEL_BYTES), "little")]
                image = Image.frombytes(mode, (header.shape.side, header.shape.side), pixels)
                image.thumbnail((_MOST, _MOST), Image.Resampling.LANCZOS)
                png = io.BytesIO()
                image.save(png, "PNG")
                found.append(Picture(place, label, png.getvalue(), image.width))
        return found
    except (DataError, OSError, ValueError, IndexError):
        return None
