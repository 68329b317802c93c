"""How the squares that a network sees look, in two figures each; a drift in them says why.

numpy alone, and from the square, so that the reference and later batches are measured alike
wherever the model serves. (pipeline/data/appearance.py measures whole pictures, for people.)
"""

import numpy as np
import numpy.typing as npt

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of ITU-R BT.601, as Pillow's."""


def brightness(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the mean grey of each square of *pixels* (n, size, size, 3), 0 to 1."""
    found: npt.NDArray[np.float64] = _grey(pixels).mean((1, 2), dtype=np.float64) / 255
    return found


def sharpness(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the variance of each grey square's Laplacian (Pech-Pacheco et al. 2000, "Diatom
    autofocusing in brightfield microscopy"); 0 where a side has fewer than 3 pixels."""
    grey = _grey(pixels)
    if grey.shape[1] < 3:
        return np.zeros(len(grey))
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    found: npt.NDArray[np.float64] = (around - 4 * grey[:, 1:-1, 1:-1]).var((1, 2), dtype=float)
    return found


def _grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    grey: npt.NDArray[np.float32] = pixels.astype(np.float32) @ _GREY
    return grey
