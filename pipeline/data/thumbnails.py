"""Pictures of the snapshot, small enough to lie inside a page; nothing of a file but its pixels."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pipeline.data.cache import UNLIMITED
from pipeline.errors import UnreadableImage
from pipeline.serving.images import Limits, inspect

_TINY = 40
"""Below so many pixels a picture is kept as it is, and shown pixel by pixel."""
_PLACEHOLDER = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96"><path fill="#9994" '
    b'd="M0 0h96v96H0z"/><path stroke="#888" stroke-width="3" d="M32 32l32 32m0-32L32 64"/></svg>'
)


@dataclass(frozen=True)
class Thumbnail:
    uri: str
    """data:image/...;base64,..."""
    width: int
    height: int
    is_tiny: bool = False
    is_missing: bool = False
    """There is no such image, or it cannot be read: a grey square stands in its place."""


MISSING = Thumbnail(
    "data:image/svg+xml;base64," + base64.b64encode(_PLACEHOLDER).decode(), 96, 96, is_missing=True
)


def thumbnails(images: Path, files: Iterable[str], side: int) -> dict[str, Thumbnail]:
    """Return a thumbnail of each of *files* (relative to *images*), upright, whose shorter side
    has *side* pixels at most, and the longer one twice as many."""
    names = sorted(set(files))
    with ThreadPoolExecutor() as threads:
        made = threads.map(lambda name: _thumbnail(images / name, side), names)
        return dict(zip(names, made, strict=True))


def _thumbnail(path: Path, side: int) -> Thumbnail:
    try:
        return thumbnail(path.read_bytes(), side, UNLIMITED)
    except (OSError, UnreadableImage):  # a stage that reads these pixels will say so
        return MISSING


def thumbnail(data: bytes, side: int, limits: Limits) -> Thumbnail:
    """Return the thumbnail of an image file, sized as by `thumbnails`; raise UnreadableImage."""
    picture = inspect(data, limits).picture
    is_tiny = min(picture.size) <= _TINY and max(picture.size) <= 2 * _TINY
    small = picture if is_tiny else picture.resize(_within(picture.size, side), reducing_gap=3)
    # Made anew: Pillow writes an image's comments and colour profile along with its pixels
    bare = Image.frombytes("RGB", small.size, small.tobytes())
    out = io.BytesIO()
    if is_tiny:
        bare.save(out, "PNG", optimize=True)
    else:
        bare.save(out, "JPEG", quality=75, optimize=True)
    kind = "png" if is_tiny else "jpeg"
    encoded = base64.b64encode(out.getvalue()).decode()
    return Thumbnail(f"data:image/{kind};base64,{encoded}", *small.size, is_tiny=is_tiny)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1, side / min(size), 2 * side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
