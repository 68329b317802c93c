"""The two figures of a square: comparable with those of the data report, and bounded."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.appearance import appearance
from pipeline.serving.appearance import brightness, sharpness


def test_black_is_0_and_white_is_1_and_neither_has_edges():
    flat = np.stack([np.zeros((5, 5, 3), np.uint8), np.full((5, 5, 3), 255, np.uint8)])
    assert brightness(flat) == pytest.approx([0, 1])
    assert sharpness(flat) == pytest.approx([0, 0], abs=1e-6)


def test_they_are_the_figures_of_the_data_report():
    """That one rounds grey values to whole numbers."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for i, picture in enumerate(map(Image.fromarray, pixels)):
        whole = appearance(picture)
        assert brightness(pixels)[i] == pytest.approx(whole.brightness, abs=0.003)
        assert sharpness(pixels)[i] == pytest.approx(whole.sharpness, rel=0.01)


def test_a_square_without_an_inside_has_no_edges():
    assert sharpness(np.zeros((2, 2, 2, 3), np.uint8)).tolist() == [0, 0]
