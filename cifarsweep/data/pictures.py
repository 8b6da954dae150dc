"""Decodes one image file that nobody vouches for into 32x32 RGB."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cifarsweep.data.tensorfile import SIDE
from cifarsweep.errors import DataError

#: Pillow decodes some forty formats; each is a way in, and these three are enough.
_FORMATS = ("JPEG", "PNG", "WEBP")


def decode(data: bytes, where: str, most_pixels: int) -> bytes:
    """The image as 32*32*3 bytes, rows of RGB pixels, resized by Lanczos; one of 32x32 keeps its very pixels.

    It is turned as its EXIF entry says, and what is transparent lies on white. Raises DataError that begins with
    `where`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > most_pixels:
                raise DataError(f"{where} has {image.width}x{image.height} pixels; at most {most_pixels} are decoded")
            rgb = _rgb(ImageOps.exif_transpose(image))
        if rgb.size != (SIDE, SIDE):
            rgb = rgb.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        return rgb.tobytes()
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{where} is not a JPEG, PNG or WebP image; leave it out") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{where} has far too many pixels; at most {most_pixels} are decoded") from error
    except Exception as error:  # decoders meet damaged bytes with every kind of error there is
        raise DataError(f"{where} is a damaged image ({type(error).__name__}); leave it out or repair it") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip instead of scale
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
