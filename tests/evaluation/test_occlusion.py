"""An occlusion map glows where the answer comes from, for any model and either answer."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from brightness import png, seal_brightness
from PIL import Image

from pipeline.evaluation.occlusion import occlude, picture
from pipeline.export.artefact import open_artefact
from pipeline.serving.classifier import Prediction

SIDE = 32


@dataclass
class OfOneCorner:
    """Sure of `light` as far as the corner's pixels are; asks no network."""

    asked: int = 0
    classes = ("dark", "light")
    variant = "fp32"

    def classify(self, images: Sequence[bytes]) -> list[Prediction]:
        self.asked += len(images)
        return [self._answer(np.asarray(Image.open(io.BytesIO(each)))) for each in images]

    def _answer(self, pixels: np.ndarray) -> Prediction:
        light = float(pixels[-8:, :8].mean() / 255)
        return Prediction(None, None, (1 - light, light), None, None)


def white_corner() -> np.ndarray:
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[-8:, :8] = 255
    return square


def test_it_glows_where_the_answer_comes_from_and_nowhere_else():
    drops = occlude(OfOneCorner(), white_corner())
    assert drops.shape == (SIDE, SIDE)
    assert drops[-1, 0] == drops.max() == pytest.approx(1 - 127 / 255)
    assert drops[: SIDE // 2].max() == drops[:, SIDE // 2 :].max() == 0


def test_the_pixels_that_are_shown_to_it_are_not_changed():
    square = white_corner()
    occlude(OfOneCorner(), square)
    assert (square == white_corner()).all()


def test_what_makes_the_answer_less_sure_is_below_nought():
    """Called dark, for the corner is: hiding it by grey makes it lighter."""
    drops = occlude(OfOneCorner(), np.zeros((SIDE, SIDE, 3), np.uint8))
    assert drops[-1, 0] > 0, "the answer is dark, and grey takes from it"
    darker = np.full((SIDE, SIDE, 3), 130, np.uint8)
    assert occlude(OfOneCorner(), darker)[-1, 0] == pytest.approx((130 - 127) / 255)


@pytest.mark.parametrize("size", [1, 3, 8, 31, 64])
def test_its_cost_is_bounded_whatever_the_size(size):
    model = OfOneCorner()
    drops = occlude(model, np.zeros((size, size, 3), np.uint8))
    assert model.asked <= 50
    assert drops.shape == (size, size)
    assert np.isfinite(drops).all()


def test_a_sealed_model_sees_what_it_sees_of_the_file_itself(tmp_path: Path):
    seal_brightness(tmp_path / "serving")
    classifier = open_artefact(tmp_path / "serving")
    drops = occlude(classifier, np.full((8, 8, 3), 200, np.uint8))
    assert drops.min() > 0, "every light pixel counts alike"
    (whole,) = classifier.classify([png(200)])
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(out, "BMP")
    assert classifier.classify([out.getvalue()])[0] == whole


def test_a_model_that_takes_no_such_file_has_no_map(tmp_path: Path):
    seal_brightness(tmp_path / "serving", limits={"bytes": 10, "pixels": 10_000})
    classifier = open_artefact(tmp_path / "serving")
    assert occlude(classifier, np.zeros((8, 8, 3), np.uint8)) is None


def test_the_picture_is_grey_but_where_it_glows():
    square = white_corner() // 2
    drops = np.zeros((SIDE, SIDE))
    drops[-8:, :8] = 0.5
    shown = picture(square, drops)
    data = base64.b64decode(shown.uri.split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)), int)
    red, green, blue = pixels[-10, 10]
    assert red > 150 and max(green, blue) < 90
    assert np.ptp(pixels[:72], axis=2).max() < 20


def test_a_drop_that_is_next_to_nothing_does_not_glow():
    drops = np.full((SIDE, SIDE), 0.001)
    shown = picture(np.full((SIDE, SIDE, 3), 100, np.uint8), drops)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.uri.split(",")[1]))), int)
    assert np.ptp(pixels, axis=2).max() < 20
