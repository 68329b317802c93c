"""What is in a dataset, and what was refused: catalogue.parquet and quarantine.csv."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import pyarrow as pa

from pipeline.data.tables import read_table, scratch_beside, write_table
from pipeline.errors import DatasetError

CATALOGUE = pa.schema(
    [
        ("sha256", pa.string()),
        ("file", pa.string()),
        ("path", pa.string()),
        ("copies", pa.list_(pa.string())),
        ("label", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("mode", pa.string()),
        ("phash", pa.string()),
        ("brightness", pa.float64()),
        ("sharpness", pa.float64()),
    ]
)
"""The columns of catalogue.parquet; those of a list of images follow, as text."""

_MEND = "darkroom ingest, or dvc pull in a clone"
DISAGREE = "(copies disagree)"
"""In a column of a list, where two lines with the same image say different things."""


@dataclass(frozen=True)
class CatalogueRow:
    """One image of the snapshot."""

    sha256: str
    """Of the file's bytes; its identity everywhere."""
    file: str
    """Where its copy lies, relative to the snapshot's images/."""
    path: str
    """Where it was found first, relative to the source."""
    copies: tuple[str, ...]
    """Where else the same bytes were found."""
    label: str | None
    """Name of its class; None where the source puts the same image under two."""
    bytes: int
    width: int
    """Upright, in pixels."""
    height: int
    mode: str
    """Pillow's: L, RGB, RGBA, ..."""
    phash: str | None
    """Perceptual hash, 16 hexadecimal digits; None for an image under 32 pixels."""
    brightness: float
    """Mean, 0 (black) to 1 (white)."""
    sharpness: float
    """Variance of the Laplacian of the grey picture, 0 to 255; a blurred photo has little."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """What a list of images says besides: group, split, camera, ..."""


@dataclass(frozen=True)
class Refusal:
    """One file of the source that is not in the snapshot, or only once."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Catalogue:
    source: str
    """`data.source` as it was when the snapshot was taken."""
    rows: tuple[CatalogueRow, ...]
    """Sorted by sha256."""


def write_catalogue(path: Path, table: pa.Table, source: str) -> None:
    """Write *table*, whose columns are those of CATALOGUE, then any others as text."""
    write_table(path, table, {"source": source})


def read_catalogue(path: Path) -> Catalogue:
    """Raise DatasetError where *path* is missing or damaged."""
    table, metadata = read_table(path, CATALOGUE, ("source",), mend=_MEND)
    others = table.schema.names[len(CATALOGUE) :]
    rows = []
    for values in table.to_pylist():
        columns = {name: values.pop(name) for name in others}
        values["copies"] = tuple(values["copies"] or ())
        rows.append(CatalogueRow(**values, columns=columns))
    return Catalogue(metadata["source"], tuple(rows))


def is_catalogue(path: Path) -> bool:
    """Whether *path* can be read as one."""
    try:
        read_identities(path)
    except DatasetError:
        return False
    return True


def read_identities(path: Path) -> tuple[str, pa.ChunkedArray]:
    """Return where the dataset was taken from, and the sha256 of every image; raise DatasetError
    as `read_catalogue` does."""
    table, metadata = read_table(path, CATALOGUE, ("source",), mend=_MEND)
    return metadata["source"], table["sha256"]


def read_source(path: Path) -> str:
    """Return where the dataset was taken from; raise DatasetError as `read_catalogue` does."""
    return read_identities(path)[0]


def write_quarantine(path: Path, refusals: Iterable[Refusal]) -> None:
    scratch = scratch_beside(path)
    with scratch.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([f.name for f in fields(Refusal)])
        writer.writerows(astuple(refusal) for refusal in refusals)
    scratch.replace(path)


def read_quarantine(path: Path) -> list[Refusal]:
    """Raise DatasetError where *path* is missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            return [Refusal(**line) for line in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise DatasetError(
            f"{path.name} is missing or damaged", f"{type(error).__name__}: {error}", mend=_MEND
        ) from None
