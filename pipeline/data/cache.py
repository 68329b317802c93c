"""Images of a split as the arrays that a network is fed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.data.splits import SplitRow
from pipeline.errors import DatasetError, UnreadableImage
from pipeline.serving.images import Limits, to_square

UNLIMITED = Limits(bytes=2**40, pixels=2**40)
"""The snapshot's images passed their limits when they were taken in."""


@dataclass(frozen=True)
class Examples:
    """Decoded images and their classes."""

    pixels: npt.NDArray[np.uint8]
    """(n, size, size, 3), RGB."""
    labels: npt.NDArray[np.int64]
    """(n,), indices into the classes."""


def decode(images: Path, rows: Sequence[SplitRow], classes: Sequence[str], size: int) -> Examples:
    """Decode *rows*, all of them labelled, to squares of *size* pixels, in their order."""
    index = {name: i for i, name in enumerate(classes)}
    pixels = np.empty((len(rows), size, size, 3), np.uint8)

    def fill(i: int) -> None:
        try:
            pixels[i] = to_square(read_image(images, rows[i]), size, UNLIMITED)
        except UnreadableImage as error:
            raise DatasetError(
                "an image of the snapshot is damaged",
                str(images / rows[i].file),
                str(error),
                mend="darkroom ingest",
            ) from None

    with ThreadPoolExecutor() as threads:
        list(threads.map(fill, range(len(rows))))
    return Examples(pixels, np.array([index[row.label or ""] for row in rows], np.int64))


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
