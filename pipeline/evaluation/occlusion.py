"""What in an image an answer rests on: where a grey patch hides it, the answer's probability falls.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", ECCV, section 4.2.
It asks the sealed model alone, as anybody could: no gradients, any kind of network, either variant.
"""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data.thumbnails import Thumbnail
from pipeline.export.artefact import SealedClassifier

Drops = npt.NDArray[np.float64]
"""(size, size): by how much the answer's probability falls, on average, while a pixel is hidden;
negative where it rises."""
Square = npt.NDArray[np.uint8]
"""(size, size, 3)."""

_PATCH = 4
"""Times that the patch's side goes into the image's."""
_STEPS = 7
"""Places of the patch along a side: half a patch apart. An image costs 50 answers."""
_GREY = 127
_FAINT = 0.1
"""A drop that is shown as strong is this at least: else noise would glow."""
_STRONGEST = 0.75
_GLOW = np.array([214.0, 40.0, 28.0])
_SIDE = 144
_PIXELS = 40
"""Up to this side a picture is enlarged pixel by pixel."""


def occlude(classifier: SealedClassifier, square: Square) -> Drops | None:
    """Return how the answer to *square* hangs on each of its pixels; None where the model refuses
    an image of that size."""
    size = len(square)
    side = max(1, round(size / _PATCH))
    starts = np.unique(np.linspace(0, size - side, _STEPS).round().astype(int))
    places = [(slice(y, y + side), slice(x, x + side)) for y in starts for x in starts]
    hidden = [square.copy() for _ in places]
    for copy, place in zip(hidden, places, strict=True):
        copy[place] = _GREY
    answers = classifier.classify([_file(each) for each in (square, *hidden)])
    if any(answer.probabilities is None for answer in answers):
        return None
    probabilities = np.array([answer.probabilities for answer in answers], np.float64)
    of_answer = probabilities[:, probabilities[0].argmax()]
    drops, covered = np.zeros((size, size)), np.zeros((size, size))
    for place, probability in zip(places, of_answer[1:], strict=True):
        drops[place] += of_answer[0] - probability
        covered[place] += 1
    return np.asarray(drops / np.maximum(covered, 1))


def picture(square: Square, drops: Drops) -> Thumbnail:
    """Return *square* in grey, glowing where hiding it takes the answer's probability away."""
    grey = square.mean(axis=2, keepdims=True).repeat(3, axis=2)
    falls = np.clip(drops, 0, None)
    strength = _STRONGEST * (falls / max(falls.max(), _FAINT))[..., None]
    blended = np.rint(grey * (1 - strength) + _GLOW * strength).astype(np.uint8)
    enlarging = Image.Resampling.NEAREST if len(square) <= _PIXELS else Image.Resampling.BILINEAR
    shown = Image.fromarray(blended).resize((_SIDE, _SIDE), enlarging)
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=85)
    uri = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    return Thumbnail(uri, _SIDE, _SIDE)


def _file(square: Square) -> bytes:
    """The model takes whole files; of its own size it changes no pixel, and BMP costs no time."""
    out = io.BytesIO()
    Image.fromarray(square).save(out, "BMP")
    return out.getvalue()
