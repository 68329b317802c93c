"""Augmentation: flip, rotation, scale and shift as *one* warp an image, then colour and erasing.

Everything follows from (seed, epoch, image): the same image looks the same in the same epoch,
whatever order, batch or process it comes in.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_DRAWS = 16
"""Numbers that one image uses in one epoch."""


@dataclass(frozen=True)
class Augmentation:
    """What may be done to an image; 0 leaves a thing alone."""

    flip: float
    """Share of images that are mirrored."""
    rotation: float
    """Largest turn either way, in degrees."""
    scale: float
    """0.25: from 1 / 1.25 to 1.25 of its size."""
    shift: float
    """Largest move either way, as a share of the side."""
    colour: float
    """0.2: brightness, contrast and saturation times 0.8 to 1.2."""
    trivial: bool
    """One random operation of random strength an image (TrivialAugment)."""
    erasing: float
    """Share of images of which a rectangle is greyed (random erasing)."""

    @property
    def is_geometric(self) -> bool:
        return self.trivial or any((self.flip, self.rotation, self.scale, self.shift))

    @property
    def is_none(self) -> bool:
        return not (self.is_geometric or self.colour or self.erasing)

    def source_side(self, size: int) -> int:
        """Return the side at which images are kept, so that the largest of them lose nothing."""
        return round(size * (1 + self.scale))


def draw(n: int, seed: int, epoch: int) -> Floats:
    """Return (n, 16) numbers from [0, 1): a row for each of *n* images."""
    key = np.array([seed % 2**64, epoch], np.uint64)  # a list would pass large seeds as floats
    random = np.random.Generator(np.random.Philox(key=key))
    return random.random((n, _DRAWS), np.float32)


def warps(draws: Floats, how: Augmentation, side: int, size: int) -> Floats:
    """Return (n, 2, 3) matrices that lead from a pixel of the square of *size* to where it comes
    from in the one of *side*: all geometry of an image at once."""
    u = draws.T
    mirror = np.where(u[0] < how.flip, -1.0, 1.0)
    angle = np.deg2rad(how.rotation) * (2 * u[1] - 1)
    zoom = (1 + how.scale) ** (2 * u[2] - 1)
    shear: Floats = np.zeros((2, len(draws)))
    move = how.shift * (2 * u[3:5] - 1)
    if how.trivial:
        turn, shear, moved = _trivial_geometry(u)
        angle, move = angle + turn, move + moved
    step = side / size / zoom
    cos, sin = np.cos(angle) * step, np.sin(angle) * step
    matrix = np.empty((len(draws), 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = (cos - sin * shear[1]) * mirror, cos * shear[0] - sin
    matrix[:, 1, 0], matrix[:, 1, 1] = (sin + cos * shear[1]) * mirror, sin * shear[0] + cos
    centre = (size - 1) / 2
    matrix[:, :, 2] = (side - 1) / 2 + move.T * side - matrix[:, :, :2].sum(axis=2) * centre
    return matrix


def augment(
    square: Pixels, warp: Floats | None, draws: Floats, how: Augmentation, size: int
) -> Pixels:
    """Return *square* as the network is to see it, (size, size, 3)."""
    seen = square
    if warp is not None:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REFLECT_101
        warped = cv2.warpAffine(square, warp, (size, size), flags=flags, borderMode=border)
        seen = np.asarray(warped, np.uint8)
    if how.trivial:
        seen = _trivial_colour(seen, draws)
    if how.colour:
        mean = float(seen.mean())
        seen = np.asarray(cv2.transform(seen, colour_matrix(draws, how.colour, mean)), np.uint8)
    if (rectangle := erased(draws, how, size)) is not None:
        seen = seen.copy()
        seen[rectangle] = 128
    return seen


def jitter(draws: Floats, most: float) -> Floats:
    """Return the factors of brightness, contrast and saturation, (..., 3)."""
    return np.asarray(1 + most * (2 * draws[..., 5:8] - 1), np.float32)


def colour_matrix(draws: Floats, most: float, mean: float) -> Floats:
    """Return (3, 4): brightness, contrast about the *mean*, and saturation, in one linear map."""
    brightness, contrast, saturation = jitter(draws, most)
    mixed = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * _GREY
    offset = np.full((3, 1), (1 - contrast) * mean * brightness, np.float32)
    return np.hstack([mixed * brightness * contrast, offset]).astype(np.float32)


def erased(draws: Floats, how: Augmentation, side: int) -> tuple[slice, slice] | None:
    """Return the rows and columns that are greyed, 2 to 33% of the area (random erasing: Zhong et
    al. 2017, arXiv:1708.04896); None for most images."""
    if draws[8] >= how.erasing:
        return None
    area = (0.02 + 0.31 * float(draws[9])) * side * side
    ratio = 0.3 * (1 / 0.3 / 0.3) ** float(draws[10])
    height = min(side, max(1, round((area * ratio) ** 0.5)))
    width = min(side, max(1, round((area / ratio) ** 0.5)))
    top, left = int(draws[11] * (side - height + 1)), int(draws[12] * (side - width + 1))
    return slice(top, top + height), slice(left, left + width)


# TrivialAugment, wide (Müller & Hutter 2021, arXiv:2103.10158): one of 14 operations, drawn with
# its strength. The geometric ones join the one warp; draws[13] says which, draws[14] how much.

_OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness",
    "colour", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
_PLACE = {name: place for place, name in enumerate(_OPERATIONS)}
_MOST = {"shear": 0.99, "translate": 0.25, "rotate": 135.0, "enhance": 0.99}


def _trivial_geometry(u: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the turn (n,), the shears (2, n) and the moves (2, n) of each image."""
    which, strength = _which(u[13]), 2 * u[14] - 1
    turn = np.where(which == _PLACE["rotate"], np.deg2rad(_MOST["rotate"]) * strength, 0)
    names = ("shear_x", "shear_y", "translate_x", "translate_y")
    shear_x, shear_y, move_x, move_y = (np.where(which == _PLACE[n], strength, 0) for n in names)
    shear = _MOST["shear"] * np.stack([shear_x, shear_y])
    return turn, shear, _MOST["translate"] * np.stack([move_x, move_y])


def _trivial_colour(pixels: Pixels, draws: Floats) -> Pixels:
    operation, strength = _OPERATIONS[int(_which(draws[13]))], float(draws[14])
    image = Image.fromarray(pixels)
    enhance = {
        "brightness": ImageEnhance.Brightness,
        "colour": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "sharpness": ImageEnhance.Sharpness,
    }
    if operation in enhance:
        image = enhance[operation](image).enhance(1 + _MOST["enhance"] * (2 * strength - 1))
    elif operation == "posterize":
        image = ImageOps.posterize(image, 8 - round(6 * strength))
    elif operation == "solarize":
        image = ImageOps.solarize(image, round(255 * (1 - strength)))
    elif operation == "autocontrast":
        image = ImageOps.autocontrast(image)
    elif operation == "equalize":
        image = ImageOps.equalize(image)
    return np.asarray(image)


def _which(u: Floats) -> npt.NDArray[np.int64]:
    return np.minimum(np.asarray(u * len(_OPERATIONS), np.int64), len(_OPERATIONS) - 1)
