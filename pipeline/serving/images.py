"""From the bytes of an image file to the square of pixels that a network sees.

The one decoder of training, evaluation and inference. The bytes are hostile: only the formats
named here are tried, limits are checked before pixels are decoded, truncated data is refused.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.WebPImagePlugin import WebPImageFile

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

_PICTURE = 256
_LARGE = 4_000_000
_HUGE = 16_000_000
_BAND = 1_000_000
_HEIC = {b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"mif1")}
"""How the photos of many telephones begin."""
HEAVY = 8 * 2**20
"""Bytes of a file that count beside the pixels of another."""
_ONE_LARGE = threading.RLock()
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_MOST_SCANS = 100
"""Ten are usual in a progressive JPEG; 1,000 over 12 megapixels take 7 seconds."""
_MOST_RUN_LENGTHS = 4 * 2**20
"""Pillow decodes them in Python: a second for so many bytes."""
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""What begins a segment of a JPEG: all but escaped data, restarts and padding."""
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation."""
_SIDEWAYS = (5, 6, 7, 8)

# What Pillow has to say about other people's files is no news to who runs this
warnings.filterwarnings("ignore", module=r"PIL\.")
# What is freed in pieces of 16 MiB, Pillow's own choice, stays with the C library: with threads,
# 300 MB and more. Larger ones go back to the system at once
Image.core.set_block_size(64 * 2**20)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Limits:
    bytes: int = 64 * 2**20
    pixels: int = 50_000_000


@dataclass(frozen=True)
class Inspected:
    format: str
    """A key of EXTENSIONS."""
    width: int
    """Upright, in pixels."""
    height: int
    mode: str
    """Pillow's, as stored in the file: L, RGB, RGBA, I;16, ..."""
    picture: Image.Image
    """RGB, upright; a large image's is smaller, its shorter side 256 pixels or more."""


def inspect(data: bytes, limits: Limits) -> Inspected:
    """Read *data* to its last pixel and say what it is; raise UnreadableImage."""
    with _open(data, limits) as image:
        stored_format, mode = _known_format(image), image.mode
        width, height = image.size
        picture = _decode(image, _PICTURE)
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
    return Inspected(stored_format, width, height, mode, picture)


@dataclass(frozen=True)
class Square:
    pixels: npt.NDArray[np.uint8]
    """(size, size, 3), RGB."""
    width: int
    """Of the whole image, upright, in pixels."""
    height: int


def to_square(data: bytes, size: int, limits: Limits) -> npt.NDArray[np.uint8]:
    """Return the centre square of *data* as (size, size, 3) RGB, upright; raise UnreadableImage."""
    return open_square(data, size, limits).pixels


def open_square(data: bytes, size: int, limits: Limits) -> Square:
    """Return the centre square of *data*, upright, and how large the image was; raise
    UnreadableImage."""
    with _open(data, limits) as image:
        width, height = image.size
        rgb = _decode(image, 2 * size)
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
    side = min(rgb.size)
    left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
    square = rgb.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    return Square(np.asarray(square, dtype=np.uint8), width, height)


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
        heic = ", but HEIC: convert it to JPEG" if data[4:12] in _HEIC else ""
        raise UnreadableImage("not_an_image", f"none of {', '.join(EXTENSIONS)}{heic}") from None
    except Exception as error:  # Pillow's parsers raise anything on hostile bytes
        raise UnreadableImage("not_an_image", _first_line(error)) from None
    width, height = image.size
    if width * height > limits.pixels:
        raise _too_many(f"{width} x {height}", limits)
    if image.format == "TIFF" and (tile := _tile(image)) > limits.pixels:
        raise _too_many(f"{width} x {height} in a tile of {tile} pixels", limits)
    if _is_run_length_bmp(image) and len(data) > _MOST_RUN_LENGTHS:
        raise UnreadableImage(
            "too_large", f"a BMP in run lengths; at most {_MOST_RUN_LENGTHS} bytes are decoded"
        )
    if _known_format(image) == "JPEG" and (scans := _scans(data)) > _MOST_SCANS:
        raise UnreadableImage(
            "too_many_scans", f"{scans} over the same picture; at most {_MOST_SCANS} are decoded"
        )
    return image


def _too_many(pixels: str, limits: Limits) -> UnreadableImage:
    return UnreadableImage("too_many_pixels", f"{pixels}; at most {limits.pixels} are decoded")


def _tile(image: Image.Image) -> int:
    """A TIFF's tile is held whole, however little of it lies in the picture."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    try:
        return int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
    except Exception:  # a tag holds what its type lets it hold
        raise UnreadableImage("damaged", "its tiles have no size") from None


def _is_run_length_bmp(image: Image.Image) -> bool:
    tiles = getattr(image, "tile", ())
    return image.format == "BMP" and any(tile[0] == "bmp_rle" for tile in tiles)


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG's first picture: each goes over all of it, and costs 26 bytes."""
    count = position = 0
    while (marker := _MARKER.search(data, position)) and marker[0] != _END_OF_IMAGE:
        count += marker[0] == _START_OF_SCAN
        position = marker.end()
        if marker[0] != _START_OF_IMAGE:
            position += int.from_bytes(data[position : position + 2], "big")
    return count


def _known_format(image: Image.Image) -> str:
    """Several JPEGs in one file, as phones write them, are a JPEG: its first picture counts."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _decode(image: Image.Image, least: int) -> Image.Image:
    """Read all of *image*; return it upright, as RGB, at a fraction of its size where its shorter
    side stays *least* pixels or more.

    A JPEG is decoded at that fraction (DCT scaling); any other large image is converted in bands,
    so that nothing but its stored pixels is ever whole in memory.
    """
    stored = image.width * image.height
    _ask_for_less(image, least)
    with _turn(image, stored):
        try:
            if isinstance(image, WebPImageFile):
                image.__class__ = _LeanWebP
            image.load()
            return _upright(_shrink(image, max(1, min(image.size) // least)), _orientation(image))
        except Exception as error:  # as above: a decoder may raise anything on hostile bytes
            raise UnreadableImage("damaged", _first_line(error)) from None
        finally:
            image.close()  # while it is still this one's turn


def turn_for(size: int) -> AbstractContextManager[object]:
    """What a file of so many bytes has its turn in, from before it is read until it is let go: its
    bytes would add up with the pixels of the one that is being decoded."""
    return _ONE_LARGE if size > HEAVY else nullcontext()


def _ask_for_less(image: Image.Image, least: int) -> None:
    """Let a JPEG be decoded at a fraction of its size; what cannot be, is as it was."""
    try:
        image.draft(None, (least, least))
    except Exception as error:
        image.close()
        raise UnreadableImage("damaged", _first_line(error)) from None


def _turn(image: Image.Image, stored: int) -> AbstractContextManager[object]:
    """Large images are decoded one at a time, so that threads do not add up their memory.

    A photo that is scaled as it is decoded is as large as it comes out; but a progressive JPEG's
    coefficients are held whole.
    """
    held = stored if image.info.get("progressive") else image.width * image.height
    return _ONE_LARGE if held > _LARGE or stored > _HUGE else nullcontext()


class _LeanWebP(WebPImageFile):
    """Pillow's reader keeps two canvases while it copies a third into a fourth: this lets them go
    when the third is made, 200 MB each at 50 megapixels."""

    def load_prepare(self) -> None:
        self._decoder = None
        super().load_prepare()


def _shrink(image: Image.Image, factor: int) -> Image.Image:
    """Return *image* as RGB, each *factor* × *factor* pixels averaged to one."""
    to_8_bit = _scale_to_8_bit(image)
    small = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top, band in _bands(image, factor):
        small.paste(_to_rgb(band, to_8_bit).reduce(factor), (0, top // factor))
    return small


def _bands(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    """Cut *image* into pieces of whole width and few pixels, a multiple of *factor* high; yield
    where each begins as well."""
    rows = max(1, _BAND // (image.width * factor)) * factor
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _to_rgb(image: Image.Image, to_8_bit: float) -> Image.Image:
    """Return *image* as RGB: transparency over white, deeper greys scaled, never clipped."""
    if image.mode.startswith("I") or image.mode == "F":
        with np.errstate(invalid="ignore"):  # not every bit pattern is a number
            grey = np.nan_to_num(np.asarray(image).astype(np.float64)) * to_8_bit
        return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale_to_8_bit(image: Image.Image) -> float:
    """What the values of a deep grey image are multiplied by: 16-bit integers, or floats from
    0 to 1 or else 0 to 255."""
    if image.mode != "F":
        return 1 / 257
    highest = 0.0
    for _, band in _bands(image, factor=1):
        highest = np.fmax.reduce(np.asarray(band), axis=None, initial=highest)  # passes NaN by
    return 255 if highest <= 1 else 1


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken note beside whole pixels
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _first_line(error: Exception) -> str:
    """The same words for the same bytes: no address of an object."""
    line = (str(error) or type(error).__name__).splitlines()[0]
    return re.sub(r" at 0x[0-9a-f]+", "", line)[:200]
