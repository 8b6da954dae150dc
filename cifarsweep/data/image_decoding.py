"""Decodes one image file of unknown origin into the square pixels of a data set."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from cifarsweep.errors import DataError
from cifarsweep.spec.image_shape import CIFAR, ImageShape

#: Pillow decodes some forty formats; each could be attacked, and these three are enough.
_FORMATS = ("JPEG", "PNG", "WEBP")
_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33
#: The chunks of a PNG that decide its pixels and its orientation.
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
#: The operation that undoes each orientation of EXIF; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A text of more than 1 MiB is no error in a good image. All texts of a file together stay limited.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


#: What becomes of images that are not square: they are stretched, lose what is outside of the middle square, or get
#: black margins.
Fit = Literal["stretch", "crop", "pad"]
#: A difference of two channels up to which a pixel is grey: JPEG does not keep greys exactly.
_GREY = 8


class NoImage(DataError):
    """A file that is no JPEG, PNG or WebP image."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The pixels of an image: side * side * channels bytes, row by row.

    `size` is the width and height of the upright image in its file, and `colours` whether it had others than greys.
    """

    pixels: bytes
    size: tuple[int, int]
    colours: bool
    brightest: int | None = None
    """The highest value of an image with 16 bits a channel, else None."""


def decode_image(
    data: bytes, where: str, most_pixels: int, shape: ImageShape = CIFAR, fit: Fit = "stretch"
) -> DecodedImage:
    """Decode an image and resize it by Lanczos; one of the right size keeps its pixels.

    EXIF turns it, transparent parts become white, an animation gives its first frame, and other metadata are ignored.
    Raises DataError that begins with `where`, and NoImage for files that are none.
    """
    try:
        try:
            pixels, brightest = _decoded(data, where, most_pixels)
        except (DataError, Image.DecompressionBombError):
            raise
        except Exception:
            # Damaged metadata must not refuse a good image.
            if (plain := _without_metadata(data)) is None:
                raise
            pixels, brightest = _decoded(plain, where, most_pixels)
        fitted = _fitted(pixels, shape.side, fit)
        colours = bool(np.ptp(np.asarray(fitted), axis=2).max() > _GREY)
        stored = fitted.convert("L") if shape.channels == 1 else fitted
        return DecodedImage(stored.tobytes(), pixels.size, colours, brightest)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise NoImage(f"{where} is not a JPEG, PNG or WebP image; leave it out") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{where} has far too many pixels; at most {most_pixels} are decoded") from error
    except Exception as error:  # decoders raise every kind of error for damaged bytes
        raise DataError(f"{where} is a damaged image ({type(error).__name__}); leave it out or repair it") from error


def _decoded(data: bytes, where: str, most_pixels: int) -> tuple[Image.Image, int | None]:
    """Return the upright image as RGB, and the highest value of one with 16 bits a channel."""
    bits = data[24] if data.startswith(_PNG) and len(data) > _HEADER_END else 8
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.width * image.height > most_pixels:
            raise DataError(f"{where} has {image.width}x{image.height} pixels; at most {most_pixels} are decoded")
        image.load()
        brightest = _brightest(image) if bits == 16 else None
        return _rgb(_upright(image), bits), brightest


def _fitted(image: Image.Image, side: int, fit: Fit) -> Image.Image:
    """Return the image with `side` pixels a side."""
    if image.size == (side, side):
        return image
    match fit:
        case "stretch":
            return image.resize((side, side), Image.Resampling.LANCZOS)
        case "crop":
            return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
        case "pad":
            # Not ImageOps.pad, whose narrowest images would have no pixel left.
            longest = max(image.size)
            size = (max(1, round(image.width * side / longest)), max(1, round(image.height * side / longest)))
            whole = Image.new("RGB", (side, side))
            inner = image.resize(size, Image.Resampling.LANCZOS)
            whole.paste(inner, ((side - size[0]) // 2, (side - size[1]) // 2))
            return whole


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata of a good image can raise any error
        return image
    return image if turn is None else image.transpose(turn)


def _brightest(image: Image.Image) -> int:
    """Return the highest value of 16 bits, of which Pillow keeps the upper 8 in colour images."""
    if image.mode.startswith("I"):
        return int(np.asarray(image).max())
    return max(int(top) for _, top in image.convert("RGB").getextrema()) << 8  # type: ignore[misc]


def _rgb(image: Image.Image, bits: int) -> Image.Image:
    key = image.info.get("transparency")
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip instead of scale
        grey = np.asarray(image).astype(np.uint32)
        eight = np.where(grey == key, 255, grey >> 8) if isinstance(key, int) else grey >> 8
        return Image.fromarray(eight.astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # The transparent colour has the bits of the file, and the pixels of Pillow have 8.
    if image.mode == "L" and isinstance(key, int) and bits < 8:
        image.info["transparency"] = key * 255 // (2**bits - 1)
    elif image.mode == "RGB" and isinstance(key, tuple) and bits == 16:
        image.info["transparency"] = tuple(channel >> 8 for channel in key)
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _without_metadata(data: bytes) -> bytes | None:
    """Return a PNG with only its pixels and its orientation; None if it is no complete PNG."""
    if not data.startswith(_PNG):
        return None
    try:
        return _PNG + b"".join(chunk for kind, chunk in _chunks(data) if kind in _PIXEL_CHUNKS)
    except (struct.error, EOFError):
        return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, start)
        stop = start + 12 + length
        if stop > len(data):
            raise EOFError("a chunk is cut off")
        yield kind, data[start:stop]
        start = stop
