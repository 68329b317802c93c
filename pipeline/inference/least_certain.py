"""A contact sheet of the images that the model was least certain of, beside a batch's rows."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import legible

SHEET = "_least_certain.jpg"
"""In a batch's folder."""
IMAGES = 16
SIDE = 160
"""Of a picture, in pixels: the longer one."""
_ACROSS = 4
_GAP, _LINE, _SIZE = 10, 18, 13
_INK, _SOFT, _GONE = "#211d1a", "#6c645d", "#eeeae5"


@dataclass(frozen=True)
class Doubted:
    """An image of a batch, and what the model said of it."""

    path: str
    sha256: str
    label: str
    confidence: float
    pixels: int
    """Of the whole image; 0 where the model did not say."""


def choose(rows: pa.Table) -> list[Doubted]:
    """Return up to IMAGES distinct ones, the least certain first, as the review has them.

    *rows* have the columns path, sha256, label, confidence, width and height.
    """
    answered = rows.filter(pc.is_valid(rows["label"]))
    order = pc.sort_indices(
        answered, [("confidence", "ascending"), ("sha256", "ascending"), ("path", "ascending")]
    )
    found: dict[str, Doubted] = {}
    for place in order:
        row = {name: answered[name][place.as_py()].as_py() for name in answered.schema.names}
        pixels = (row["width"] or 0) * (row["height"] or 0)
        doubted = Doubted(row["path"], row["sha256"], row["label"], row["confidence"], pixels)
        found.setdefault(doubted.sha256, doubted)
        if len(found) == IMAGES:
            break
    return list(found.values())


def shrink(picture: Image.Image) -> Image.Image:
    """Return it as large as the sheet shows it; of a tiny one every pixel is seen."""
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    return picture.resize(size, how)


def draw(doubted: Sequence[Doubted], pictures: Sequence[Image.Image | str], title: str) -> bytes:
    """Return a JPEG, the same for the same pixels. *pictures*: each shrunk, or why it is not."""
    across = min(_ACROSS, len(doubted))
    wide, high = SIDE + _GAP, SIDE + 2 * _LINE + 2 * _GAP
    rows = -(-len(doubted) // across)
    sheet = Image.new("RGB", (_GAP + across * wide, 2 * _LINE + _GAP + rows * high), "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    pen.text((_GAP, _GAP), _fitted(title, font, sheet.width - 2 * _GAP), _INK, font)
    for place, (each, picture) in enumerate(zip(doubted, pictures, strict=True)):
        left = _GAP + place % across * wide
        top = 2 * _LINE + _GAP + place // across * high
        square = (left, top, left + SIDE - 1, top + SIDE - 1)
        if isinstance(picture, str):
            pen.rectangle(square, _GONE)
            pen.text((left + _GAP, top + SIDE // 2), picture[:40], _SOFT, font)
        else:
            x, y = (SIDE - picture.width) // 2, (SIDE - picture.height) // 2
            sheet.paste(picture, (left + x, top + y))
            pen.rectangle(square, outline=_GONE)
        sure = f"{each.confidence:.2f}"
        room = SIDE - font.getlength(f" {sure}")
        below = top + SIDE + _GAP // 2
        pen.text((left, below), f"{_fitted(each.label, font, room)} {sure}", _INK, font)
        name = _fitted(each.path.rpartition("/")[2], font, SIDE)
        pen.text((left, below + _LINE), name, _SOFT, font)
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=85, subsampling=0)
    return out.getvalue()


def _fitted(words: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Return *words* on one line, cut where *room*, in pixels, ends."""
    line = legible(words[:100])
    if font.getlength(line) <= room:
        return line
    while line and font.getlength(line + "…") > room:
        line = line[:-1]
    return line + "…"


def _font() -> ImageFont.FreeTypeFont:
    """matplotlib's, which comes with it: the same on every machine; it need not be imported."""
    place = Path(str(find_spec("matplotlib").origin)).parent  # type: ignore[union-attr]
    file = place / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(file), _SIZE, layout_engine=ImageFont.Layout.BASIC)
