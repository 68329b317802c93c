"""The folder data/dataset: what lies in it, what is moved in, what is swept out."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.folders import CLUTTER
from pipeline.data.tables import to_table
from pipeline.errors import DatasetError

_HELD = pa.schema([("file", pa.string()), ("size", pa.int64())])
_IMAGE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.[a-z]+")
_TABLE = re.compile(r"catalogue\.parquet|quarantine\.csv")
_SCRATCH = re.compile(r"\.(catalogue\.parquet|quarantine\.csv)\.\d+")


def held(dataset: Path) -> pa.Table:
    """Return the images that lie in *dataset*, relative to its images/, and their sizes.

    The folder is ingest's own: it is swept, so nobody else's file may lie in it. Raises
    DatasetError where one does.
    """
    foreign: list[str] = []

    def own() -> Iterator[tuple[str, int]]:
        for name, size in _files(dataset, ""):
            image = name.removeprefix("images/")
            if image != name and _IMAGE.fullmatch(image):
                yield image, size
            elif not (
                _TABLE.fullmatch(name)
                or _SCRATCH.fullmatch(name)
                or name.rpartition("/")[2] in CLUTTER
            ):
                foreign.append(name)

    found = to_table(own(), _HELD) if dataset.is_dir() else _HELD.empty_table()
    if foreign:
        raise DatasetError(
            f"data/dataset holds {len(foreign)} files that no ingest put there",
            *(str(dataset / name) for name in sorted(foreign)[:3]),
            mend="move them out of data/dataset; images belong into the source",
        )
    return found


def holds(held: pa.Table, file: pa.ChunkedArray, size: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return, for each *file* that a record names, whether it is held, whole; null for none."""
    place = pc.index_in(file, value_set=held["file"])
    return pc.if_else(
        pc.is_valid(file), pc.fill_null(pc.equal(held["size"].take(place), size), False), None
    )


def move_in(staging: Path, images: Path) -> None:
    """By rename: a file of the snapshot may share its bytes with DVC's cache, by a hard link."""
    images.mkdir(parents=True, exist_ok=True)
    for name, _ in _files(staging, ""):
        target = f"{images}/{name}"
        try:
            os.replace(f"{staging}/{name}", target)  # noqa: PTH105, twice as fast
        except FileNotFoundError:
            Path(target).parent.mkdir()
            os.replace(f"{staging}/{name}", target)  # noqa: PTH105


def sweep(dataset: Path, held: pa.Table, named: pa.ChunkedArray) -> None:
    """Remove the *held* images that the catalogue does not name, and what a killed run left of
    its tables; DVC's cache keeps older versions."""
    images = dataset / "images"
    for file in held["file"].filter(pc.invert(pc.is_in(held["file"], value_set=named))).to_pylist():
        (images / file).unlink()
    for left in dataset.glob(".*"):
        if _SCRATCH.fullmatch(left.name):
            left.unlink()
    for folder in images.iterdir():
        if not any(os.scandir(folder)):
            folder.rmdir()


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield every file below *folder*, a link as itself, and its size."""
    if not (folder / prefix).is_dir():
        return
    with os.scandir(folder / prefix) as children:
        for child in children:
            name = prefix + child.name
            if child.is_dir(follow_symlinks=False):
                yield from _files(folder, name + "/")
            else:
                yield name, child.stat(follow_symlinks=False).st_size
