"""What a picture looks like, in a few figures: its perceptual hash, brightness, sharpness."""

from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

_LEAST = 32
"""Below so many pixels a perceptual hash finds likeness everywhere: half of the 8 × 8 digits
join one another."""


@dataclass(frozen=True, slots=True)
class Appearance:
    phash: str | None
    """DCT hash of 64 bits (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash
    Functions"), 16 hexadecimal digits; None where a side has fewer than 32 pixels."""
    brightness: float
    """Mean of the grey picture, 0 to 1."""
    sharpness: float
    """Variance of its Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
    microscopy"), grey values from 0 to 255; 0 where a side has fewer than 3 pixels."""


def appearance(picture: Image.Image) -> Appearance:
    """Measure *picture*, RGB."""
    grey = picture.convert("L")
    phash = str(imagehash.phash(grey)) if min(grey.size) >= _LEAST else None
    values = np.asarray(grey, np.int32)
    return Appearance(phash, round(float(values.mean()) / 255, 4), _sharpness(values))


def _sharpness(grey: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> float:
    if min(grey.shape) < 3:
        return 0.0
    centre = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    return round(float(laplacian.var()), 2)
