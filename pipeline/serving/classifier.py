"""A sealed model, ready to answer: bytes of image files in, predictions out.

This is the numbered interface between a registered model, which brings its own copy of this
code, and whatever Darkroom loads it years later: `INTERFACE`, `Classifier(folder)`, its
`classes`, `variant` and `classify`. What changes it in a way that old callers cannot bear
raises the number; a Prediction's later fields are all optional. Where they are there, batch
inference also takes `answer` (in the calling thread), `part`, and `turn_for` of images.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UnreadableImage
from .abstention import Reliance, read_known, rely
from .appearance import brightness, sharpness
from .choice import AUTO, SELF_TEST, SelfTest, choose
from .images import Limits, Square, open_square
from .variants import FP32

INTERFACE = 1
Floats = npt.NDArray[np.float32]
Run = Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]


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
    conformal_set: tuple[str, ...] | None = None
    """The classes that are possible; over all images, a share of `coverage` of such sets holds
    the right one. None, as all below, for a refused image and a model without thresholds."""
    class_conditional_set: tuple[str, ...] | None = None
    """The same, with that share promised to the images of each class; larger, mostly."""
    ood_score: float | None = None
    """Distance from the images that the model knows, 0 to 2: the larger the stranger."""
    abstain_reason: str | None = None
    """Why *label* should not be relied on: out_of_distribution, ambiguous, no_class; None where
    it can be."""
    width: int | None = None
    """Of the image, upright, in pixels."""
    height: int | None = None
    brightness: float | None = None
    """Of the square that the network saw, 0 to 1."""
    sharpness: float | None = None
    embedding: Floats | None = field(default=None, compare=False, repr=False)
    """(width of the network's last layer,)."""


class Classifier:
    def __init__(
        self,
        folder: Path,
        *,
        variant: str = AUTO,
        memory: Path | None = None,
        providers: str = AUTO,
    ) -> None:
        """Load the fastest *variant* on this machine, or the one asked for (see choice.choose).

        *memory*: a folder in which the choice is remembered; without it, it is made each time.
        *providers*: auto, or cpu where a GPU is not to be used.
        """
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self._size = int(card["image_size"])
        self._limits = Limits(**card["limits"])
        variants = tuple(card.get("variants", (FP32,)))
        self_test = _self_test(folder, card)
        chosen = choose(folder, variants, self_test, variant, memory, providers)
        self.variant = chosen.variant
        """What runs: fp32, int8, or on a GPU fp16."""
        self.set_aside = dict(chosen.set_aside)
        """Variant → why it must not run on this processor."""
        self._engine = chosen.engine
        self.part = chosen.engine.part
        """How many images `answer` takes best."""
        self._pool = ThreadPoolExecutor(chosen.engine.cores, "classify")
        self._known = read_known(folder, self.variant)

    def classify(self, images: Sequence[bytes]) -> list[Prediction]:
        """Return one prediction for each of *images* (whole files), in their order.

        Many go through side by side, a few on each core, from the file to the answer; for a few
        of them every core is used all the same.
        """
        if len(images) >= self._engine.cores:
            parts = [images[part] for part in self._engine.parts(len(images))]
            return [answer for part in self._pool.map(self.answer, parts) for answer in part]
        return self._answers(list(self._pool.map(self._decode, images)), self._engine)

    def answer(self, images: Sequence[bytes]) -> list[Prediction]:
        """Return what `classify` does, to the bit, from the calling thread alone: for callers that
        have threads of their own."""
        return self._answers([self._decode(data) for data in images], self._engine.on_one_core)

    def _answers(self, decoded: Sequence[Square | UnreadableImage], run: Run) -> list[Prediction]:
        squares = [square for square in decoded if isinstance(square, Square)]
        answers = iter(self._look_at(squares, run) if squares else ())
        return [
            _refused(square) if isinstance(square, UnreadableImage) else next(answers)
            for square in decoded
        ]

    def _look_at(self, squares: Sequence[Square], run: Run) -> list[Prediction]:
        pixels = np.stack([square.pixels for square in squares])
        probabilities, embeddings = run(pixels)
        answers = self._relied_on(probabilities, embeddings)
        seen = zip(squares, brightness(pixels), sharpness(pixels), embeddings, strict=True)
        return [
            replace(
                answer,
                width=square.width,
                height=square.height,
                brightness=float(bright),
                sharpness=float(sharp),
                embedding=embedding,
            )
            for answer, (square, bright, sharp, embedding) in zip(answers, seen, strict=True)
        ]

    def _relied_on(self, probabilities: Floats, embeddings: Floats) -> list[Prediction]:
        if self._known is None:
            return [self._answer(row) for row in probabilities]
        reliances = rely(probabilities, embeddings, self._known)
        return [
            self._with(self._answer(row), reliance)
            for row, reliance in zip(probabilities, reliances, strict=True)
        ]

    def _decode(self, data: bytes) -> Square | UnreadableImage:
        try:
            return open_square(data, self._size, self._limits)
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

    def _with(self, answer: Prediction, reliance: Reliance) -> Prediction:
        return replace(
            answer,
            conformal_set=self._named(reliance.conformal_set),
            class_conditional_set=self._named(reliance.class_conditional_set),
            ood_score=reliance.ood_score,
            abstain_reason=reliance.abstain_reason,
        )

    def _named(self, places: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.classes[place] for place in places)


def _self_test(folder: Path, card: Mapping[str, Any]) -> SelfTest | None:
    if not (folder / SELF_TEST).exists():
        return None
    with np.load(folder / SELF_TEST, allow_pickle=False) as arrays:
        return SelfTest(arrays["pixels"], arrays["probabilities"], card["self_test"])


def _refused(error: UnreadableImage) -> Prediction:
    return Prediction(None, None, None, reason=error.reason, detail=error.detail)
