"""From the bytes of an image file to the square of pixels that a network sees.

The one decoder of training, evaluation and inference. The bytes are hostile: only the formats
named here are tried, limits are checked before pixels are decoded, truncated data is refused.
"""

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UnreadableImage

EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "TIFF": ".tif",
}
"""Formats that are tried, by content, and the extension of each."""


# What Pillow has to say about other people's files is no news to who runs this
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Limits:
    bytes: int = 64 * 2**20
    pixels: int = 50_000_000


@dataclass(frozen=True)
class ImageInfo:
    format: str
    """A key of EXTENSIONS."""
    width: int
    """Upright, in pixels."""
    height: int
    mode: str
    """Pillow's, as stored in the file: L, RGB, RGBA, I;16, ..."""


def inspect(data: bytes, limits: Limits) -> ImageInfo:
    """Decode *data* in full and say what it is; raise UnreadableImage."""
    with _open(data, limits) as image:
        stored_format, mode = _known_format(image), image.mode
        upright = _decode(image)
    return ImageInfo(stored_format, upright.width, upright.height, mode)


def to_square(data: bytes, size: int, limits: Limits) -> npt.NDArray[np.uint8]:
    """Return the centre square of *data* as (size, size, 3) RGB, upright; raise UnreadableImage.

    A large JPEG is decoded at a fraction of its resolution (DCT scaling), never below 2 × size.
    """
    with _open(data, limits) as image:
        image.draft(None, (2 * size, 2 * size))
        rgb = _decode(image)
    side = min(rgb.size)
    left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
    square = rgb.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    return np.asarray(square, dtype=np.uint8)


def _open(data: bytes, limits: Limits) -> Image.Image:
    if not data:
        raise UnreadableImage("empty", "the file has no bytes")
    if len(data) > limits.bytes:
        raise UnreadableImage("too_large", f"{len(data)} bytes; at most {limits.bytes} are read")
    if Image.MAX_IMAGE_PIXELS is not None and limits.pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limits.pixels  # Pillow's own limit would stand in the way
    try:
        image = Image.open(io.BytesIO(data), formats=tuple(EXTENSIONS))
    except Image.DecompressionBombError as error:
        raise UnreadableImage("too_many_pixels", _first_line(error)) from None
    except UnidentifiedImageError:
        raise UnreadableImage("not_an_image", f"none of {', '.join(EXTENSIONS)}") from None
    except Exception as error:  # Pillow's parsers raise anything on hostile bytes
        raise UnreadableImage("not_an_image", _first_line(error)) from None
    if image.width * image.height > limits.pixels:
        raise UnreadableImage(
            "too_many_pixels",
            f"{image.width} x {image.height}; at most {limits.pixels} are decoded",
        )
    return image


def _known_format(image: Image.Image) -> str:
    """Several JPEGs in one file, as phones write them, are a JPEG: its first picture counts."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _decode(image: Image.Image) -> Image.Image:
    """Return *image* upright, as RGB."""
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # as above: a decoder may raise anything on hostile bytes
        raise UnreadableImage("damaged", _first_line(error)) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return *image* as RGB: transparency over white, 16 bits scaled, never clipped."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(grey: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Scale 16-bit integers by 257, and floats (0 to 1, else 0 to 255) to bytes."""
    values = np.nan_to_num(grey.astype(np.float64))
    if np.issubdtype(grey.dtype, np.floating):
        scaled = values * 255 if values.max(initial=0) <= 1 else values
    else:
        scaled = values / 257
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _first_line(error: Exception) -> str:
    """The same words for the same bytes: no address of an object."""
    line = (str(error) or type(error).__name__).splitlines()[0]
    return re.sub(r" at 0x[0-9a-f]+", "", line)[:200]
