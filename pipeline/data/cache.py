"""Decoded images, kept at home from one training to the next: each file is decoded once.

One memory-mapped array for each (images, side, decoder); what another one holds already is copied.
One that was damaged is made anew.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
from filelock import FileLock, Timeout

from pipeline.data.splits import SplitRow
from pipeline.errors import DatasetError, UnreadableImage
from pipeline.serving import images as decoder
from pipeline.serving.images import Limits, to_square

Pixels = npt.NDArray[np.uint8]
Say = Callable[[str], None]

UNLIMITED = Limits(bytes=2**40, pixels=2**40)
"""The snapshot's images passed their limits when they were taken in."""
_KEPT = 6
"""Arrays of other trainings that are kept, the latest used."""
_SECONDS_A_LINE = 10
_SHARE_OF_DISK = 0.5
"""Of what is free; larger arrays are held in memory instead."""


def decoded(
    images: Path, rows: Sequence[SplitRow], side: int, cache: Path, say: Say = lambda line: None
) -> Pixels:
    """Return the pixels of *rows* in their order, (n, side, side, 3), RGB; not to be
    written to. *say* is told of what takes its time.

    Raises DatasetError naming an image that is missing or damaged.
    """
    kind = f"{side}-{_decoder()}"
    names = [row.sha256 for row in rows]
    folder = cache / f"{kind}-{hashlib.sha256(''.join(names).encode()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        known, pixels = _held(folder, side)
        if pixels is None or known != names:
            shutil.rmtree(folder, ignore_errors=True)
            shape = (len(rows), side, side, 3)
            if np.prod(shape) > _SHARE_OF_DISK * shutil.disk_usage(cache).free:
                return _fill(np.empty(shape, np.uint8), images, rows, side, cache, kind, say)
            _build(folder, images, rows, side, kind, say)
            pixels = _open(folder)
        os.utime(folder)
    _evict(cache, folder)
    return pixels


def labels_of(rows: Sequence[SplitRow], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the place of each row's class among *classes*, (n,)."""
    index = {name: place for place, name in enumerate(classes)}
    return np.array([index[row.label or ""] for row in rows], np.int64)


def read_image(images: Path, row: SplitRow) -> bytes:
    """Return the bytes of one image of the snapshot; raise DatasetError where it is not there."""
    try:
        return (images / row.file).read_bytes()
    except OSError as error:
        raise DatasetError(
            "an image that data/splits.parquet names cannot be read",
            f"{images / row.file}: {error.strerror}",
            mend="dvc checkout data/dataset.dvc, or darkroom ingest",
        ) from None


def read_square(images: Path, row: SplitRow, side: int) -> Pixels:
    """Return one image of the snapshot, decoded: (side, side, 3), RGB; raise DatasetError where it
    is missing or damaged."""
    try:
        return to_square(read_image(images, row), side, UNLIMITED)
    except UnreadableImage as error:
        raise DatasetError(
            "an image of the snapshot is damaged",
            str(images / row.file),
            str(error),
            mend="darkroom data verify, or darkroom ingest --rescan",
        ) from None


def _build(
    folder: Path, images: Path, rows: Sequence[SplitRow], side: int, kind: str, say: Say
) -> None:
    """Appears whole, by one rename, or not at all."""
    scratch = folder.with_name(f".{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    shape = (len(rows), side, side, 3)
    pixels = np.lib.format.open_memmap(scratch / "pixels.npy", "w+", np.uint8, shape)
    try:
        _fill(pixels, images, rows, side, folder.parent, kind, say)
        pixels.flush()
        (scratch / "names.json").write_text(json.dumps([row.sha256 for row in rows]))
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fill(
    pixels: Pixels,
    images: Path,
    rows: Sequence[SplitRow],
    side: int,
    cache: Path,
    kind: str,
    say: Say,
) -> Pixels:
    known = _known(cache, kind, side)

    def fill(place: int) -> None:
        row = rows[place]
        if row.sha256 in known:
            array, at = known[row.sha256]
            pixels[place] = array[at]
            return
        pixels[place] = read_square(images, row, side)

    if new := sum(row.sha256 not in known for row in rows):
        say(f"decoding {new:,} images to {side} px, once")
    due = time.monotonic() + _SECONDS_A_LINE
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for done, _ in enumerate(threads.map(fill, range(len(rows))), 1):
            if time.monotonic() >= due:
                due += _SECONDS_A_LINE
                say(f"decoding: {done:,} of {len(rows):,}")
    return pixels


def _known(cache: Path, kind: str, side: int) -> dict[str, tuple[Pixels, int]]:
    """Return where other arrays of this kind hold an image."""
    found = {}
    for other in cache.glob(f"{kind}-*/"):
        names, array = _held(other, side)
        if array is not None:
            found.update({name: (array, place) for place, name in enumerate(names)})
    return found


def _held(folder: Path, side: int) -> tuple[list[str], Pixels | None]:
    """Return which images the array in *folder* holds, and it; None where it is not there, or not
    whole: a disk was full, or a copy cut off."""
    try:
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        pixels = _open(folder)
        whole = pixels.dtype == np.uint8 and pixels.shape == (len(names), side, side, 3)
    except Exception:  # NumPy raises anything on a damaged head
        return [], None
    return (names, pixels) if whole else ([], None)


def _open(folder: Path) -> Pixels:
    found: Pixels = np.lib.format.open_memmap(folder / "pixels.npy", "c")
    return found


def _evict(cache: Path, used: Path) -> None:
    """An array that another training has open stays on the disk until that is done."""
    with FileLock(cache / "evict.lock"):
        others = [p for p in cache.iterdir() if p.is_dir() and p != used and p.name[0] != "."]
        for old in sorted(others, key=lambda p: p.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        for scratch in cache.glob(".*"):  # of a run that was killed, if nobody is at it
            lock = FileLock(cache / f"{scratch.name[1:]}.lock", timeout=0)
            with suppress(Timeout), lock:
                shutil.rmtree(scratch, ignore_errors=True)


def _decoder() -> str:
    """Another decoder, or another Pillow, may see other pixels."""
    code = Path(decoder.__file__).read_bytes() + PIL.__version__.encode()
    return hashlib.sha256(code).hexdigest()[:12]
