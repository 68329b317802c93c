"""A contact sheet: what the network sees of a few images, epoch after epoch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.training.augment import Augmentation, Pixels, augment, draw, warps

IMAGES, EPOCHS = 8, 6
_SMALLEST, _LARGEST = 96, 192
"""Sides of a tile, in pixels."""
_GAP = 4


def choose_images(labels: npt.NDArray[np.int64], count: int = IMAGES) -> list[int]:
    """Return the places of *count* images, of all classes in turn."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = labels == label
        turn[of_class] = np.arange(of_class.sum())
    return [int(place) for place in np.lexsort((labels, turn))[:count]]


def sheet(
    squares: Sequence[Pixels],
    places: Sequence[int],
    of: int,
    how: Augmentation,
    size: int,
    seed: int,
    epochs: int = EPOCHS,
) -> Pixels:
    """Return a picture of a row for each image: itself, then as epochs 1, 2, ... of a training show
    it. *places*: where the squares stand among the *of* training images."""
    whole = np.array(places)
    columns = [[_tile(square, size) for square in squares]]
    for epoch in range(1, epochs + 1):
        draws = draw(of, seed, epoch)[whole]
        matrices = warps(draws, how, len(squares[0]), size)
        columns.append(
            [
                _tile(augment(square, matrix, drawn, how, size), size)
                for square, matrix, drawn in zip(squares, matrices, draws, strict=True)
            ]
        )
    step = len(columns[0][0]) + _GAP
    shape = (len(squares) * step + _GAP, len(columns) * step + 2 * _GAP, 3)
    page = np.full(shape, 255, np.uint8)
    for x, column in enumerate(columns):
        left = _GAP + x * step + (_GAP if x else 0)  # the originals stand apart
        for y, tile in enumerate(column):
            top = _GAP + y * step
            page[top : top + len(tile), left : left + len(tile)] = tile
    return page


def _tile(square: Pixels, size: int) -> Pixels:
    """Small pictures are shown with their pixels, large ones made smaller."""
    times = -(-_SMALLEST // size)
    side = min(size * times, _LARGEST)
    magnified = times > 1 and len(square) == size
    how = Image.Resampling.NEAREST if magnified else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(square).resize((side, side), how))
