"""A sealed model, ready to answer: bytes of image files in, predictions out.

This is the numbered interface between a registered model, which brings its own copy of this
code, and whatever Darkroom loads it years later: `INTERFACE`, `Classifier(folder)`, its
`classes`, `variant` and `classify`. What changes it in a way that old callers cannot bear
raises the number.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import UnreadableImage
from .engine import Engine
from .images import Limits, to_square

INTERFACE = 1


@dataclass(frozen=True)
class Prediction:
    """One image's answer: a label, or the reason for which it was refused."""

    label: str | None
    confidence: float | None
    """Probability of *label*, 0 to 1."""
    probabilities: tuple[float, ...] | None
    """In the order of `Classifier.classes`; they sum to 1."""
    reason: str | None
    """Why the image was refused; None for a predicted one."""
    detail: str | None


class Classifier:
    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.variant = "fp32"
        self._size = int(card["image_size"])
        self._limits = Limits(**card["limits"])
        self._engine = Engine(folder / "fp32.onnx")

    def classify(self, images: Sequence[bytes]) -> list[Prediction]:
        """Return one prediction for each of *images* (whole files), in their order."""
        with ThreadPoolExecutor() as threads:
            decoded = list(threads.map(self._decode, images))
        pixels = [square for square in decoded if isinstance(square, np.ndarray)]
        rows = iter(self._engine(np.stack(pixels))[0] if pixels else ())
        return [
            _refused(square) if isinstance(square, UnreadableImage) else self._answer(next(rows))
            for square in decoded
        ]

    def _decode(self, data: bytes) -> npt.NDArray[np.uint8] | UnreadableImage:
        try:
            return to_square(data, self._size, self._limits)
        except UnreadableImage as error:
            return error

    def _answer(self, probabilities: npt.NDArray[np.float32]) -> Prediction:
        best = int(probabilities.argmax())
        return Prediction(
            label=self.classes[best],
            confidence=float(probabilities[best]),
            probabilities=tuple(map(float, probabilities)),
            reason=None,
            detail=None,
        )


def _refused(error: UnreadableImage) -> Prediction:
    return Prediction(None, None, None, reason=error.reason, detail=error.detail)
