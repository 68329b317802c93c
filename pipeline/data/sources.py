"""Where labelled images come from: a folder of class folders, or the embedded digits."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import SourceError
from pipeline.workspace import Home

DIGITS = "digits"


@dataclass(frozen=True)
class Entry:
    """One file of a source, not yet looked into."""

    path: str
    """Relative to the source, printable: bytes that are not UTF-8 are escaped."""
    label: str
    """Name of the class folder; empty for a file outside any."""
    file: Path


def open_source(source: str, home: Home) -> Path:
    """Return the folder that *source* names; the digits are written out first where need be.

    Raises SourceError where it is missing, not a folder, or holds no class folder.
    """
    if source == DIGITS:
        folder = home.private / "sources/digits"
        if not folder.is_dir():
            _write_whole(folder, _digits_by_class())
        return folder
    folder = home.resolve(source)
    if not folder.is_dir():
        raise SourceError(
            f"the source {source} is {'not a folder' if folder.exists() else 'missing'}",
            f"looked for {folder}",
            mend="set data.source in params.yaml to a folder of class folders",
        )
    if not any(child.is_dir() for child in folder.iterdir()):
        raise SourceError(
            f"the source {source} has no class folder",
            f"in {folder}",
            mend="put the images into one folder for each class, such as cat/ and dog/",
        )
    return folder


def entries(folder: Path) -> Iterator[Entry]:
    """Yield every file below *folder*, sorted, following no link; names that begin with a dot
    are left alone."""
    for path in _walk(folder):
        relative = path.relative_to(folder)
        label = printable(Path(relative.parts[0])) if len(relative.parts) > 1 else ""
        yield Entry(printable(relative), label, path)


def write_digits_inbox(folder: Path) -> bool:
    """Lay one in ten of the digits down in *folder*, unlabelled; False if it is there already."""
    if folder.exists():
        return False
    _write_whole(
        folder, {f"{number:04d}.png": pixels for number, _, pixels in _digits(held_out=True)}
    )
    return True


def printable(path: Path) -> str:
    """Return *path* as text that any table can hold, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(folder: Path) -> Iterator[Path]:
    for child in sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name)):
        if child.name.startswith("."):
            continue
        if child.is_dir(follow_symlinks=False):
            yield from _walk(Path(child.path))
        else:
            yield Path(child.path)


def _digits_by_class() -> dict[str, Image.Image]:
    return {f"{label}/{n:04d}.png": image for n, label, image in _digits(held_out=False)}


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
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    for name, image in images.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(scratch / name)
    scratch.rename(folder)
