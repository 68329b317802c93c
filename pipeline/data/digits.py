"""The embedded example: scikit-learn's 1,797 handwritten digits as a folder of class folders."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

DIGITS = "digits"
"""What `data.source` says for them."""


def write_digits(folder: Path) -> None:
    """Lay nine in ten of the digits down in *folder*, by class, unless it is there already."""
    if not folder.is_dir():
        _write_whole(folder, {f"{k}/{n:04d}.png": im for n, k, im in _digits(held_out=False)})


def write_digits_inbox(folder: Path) -> bool:
    """Lay one in ten of the digits down in *folder*, unlabelled; False if it is there already."""
    if folder.exists():
        return False
    _write_whole(folder, {f"{n:04d}.png": image for n, _, image in _digits(held_out=True)})
    return True


def _digits(held_out: bool) -> Iterator[tuple[int, int, Image.Image]]:
    """Yield (number in scikit-learn's set, digit, 8 × 8 image); one in ten is held out, at random:
    the set repeats its digits in order, so that every tenth would miss most of them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    chosen = np.sort(order[: len(order) // 10] if held_out else order[len(order) // 10 :])
    for number in chosen:
        grey = np.rint(digits.images[number] * (255 / 16)).astype(np.uint8)
        yield int(number), int(digits.target[number]), Image.fromarray(grey)


def _write_whole(folder: Path, images: dict[str, Image.Image]) -> None:
    """Write *images* so that *folder* appears with all of them or not at all."""
    for left in folder.parent.glob(f".{folder.name}.*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    for name, image in images.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(scratch / name)
    scratch.rename(folder)
