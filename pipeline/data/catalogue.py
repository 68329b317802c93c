"""The tables of a dataset: what was taken in, what was refused, and which split each is in."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DatasetError


@dataclass(frozen=True)
class CatalogueRow:
    """One image of the snapshot."""

    sha256: str
    """Of the file's bytes; its identity everywhere."""
    file: str
    """Where its copy lies, relative to the snapshot's images/."""
    path: str
    """Where it was found first, relative to the source."""
    label: str | None
    """Name of its class; None where the source puts the same image under two."""
    bytes: int
    width: int
    """Upright, in pixels."""
    height: int
    mode: str


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


@dataclass(frozen=True)
class SplitRow:
    """One image and the split that it belongs to."""

    sha256: str
    file: str
    path: str
    label: str | None
    width: int
    height: int
    split: str
    """train, validation, test, or left_out."""
    reason: str | None
    """Why it is left out."""


@dataclass(frozen=True)
class Splits:
    source: str
    rows: tuple[SplitRow, ...]
    """Sorted by sha256."""
    seed: int
    validation: float
    test: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted: the order of every model's outputs."""
        return tuple(
            sorted({row.label for row in self.rows if row.label and row.split != "left_out"})
        )

    def of(self, split: str) -> tuple[SplitRow, ...]:
        return tuple(row for row in self.rows if row.split == split)


def _schema(row: type[CatalogueRow] | type[SplitRow]) -> pa.Schema:
    return pa.schema([(f.name, pa.int64() if f.type is int else pa.string()) for f in fields(row)])


_CATALOGUE = _schema(CatalogueRow)
_SPLITS = _schema(SplitRow)


def write_catalogue(path: Path, catalogue: Catalogue) -> None:
    _write(path, catalogue.rows, _CATALOGUE, {"source": catalogue.source})


def read_catalogue(path: Path) -> Catalogue:
    """Raise DatasetError where *path* is missing or damaged."""
    table, metadata = _read(
        path, _CATALOGUE, ("source",), mend="darkroom ingest, or dvc pull in a clone"
    )
    return Catalogue(metadata["source"], tuple(CatalogueRow(**row) for row in table.to_pylist()))


def write_splits(path: Path, splits: Splits) -> None:
    metadata = {k: str(v) for k, v in asdict(splits).items() if k != "rows"}
    _write(path, splits.rows, _SPLITS, metadata)


def read_splits(path: Path) -> Splits:
    """Raise DatasetError where *path* is missing or damaged."""
    needed = ("source", "seed", "validation", "test")
    table, metadata = _read(path, _SPLITS, needed, mend="dvc repro split")
    return Splits(
        source=metadata["source"],
        rows=tuple(SplitRow(**row) for row in table.to_pylist()),
        seed=int(metadata["seed"]),
        validation=float(metadata["validation"]),
        test=float(metadata["test"]),
    )


def write_quarantine(path: Path, refusals: Iterable[Refusal]) -> None:
    scratch = _scratch(path)
    with scratch.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([f.name for f in fields(Refusal)])
        writer.writerows(astuple(refusal) for refusal in refusals)
    scratch.replace(path)


def read_corrections(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the lines of a person's corrections; raise DatasetError naming a wrong one."""
    name = f"data/corrections/{path.name}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, skipinitialspace=True)
            if list(reader.fieldnames or ()) != list(columns):
                raise DatasetError(
                    f"{name} has other columns than it must",
                    f"its first line is {','.join(reader.fieldnames or ())!r}",
                    mend=f"make its first line {','.join(columns)}",
                )
            return [_correction(row, f"{name}, line {reader.line_num}", columns) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{name} cannot be read as a table",
            f"{type(error).__name__}: {error}",
            mend="save it as CSV in UTF-8, or git checkout -- " + name,
        ) from None


def _correction(row: dict[str, str], where: str, columns: Sequence[str]) -> dict[str, str]:
    cells = [row.get(column) for column in columns]
    if set(row) != set(columns) or not all(cells) or len(row["sha256"]) != 64:
        raise DatasetError(
            f"{where} is not a correction",
            "it must hold the 64 digits of an image's sha256, then " + ", ".join(columns[1:]),
            mend="mend that line; data/dataset/catalogue.parquet names every image's sha256",
        )
    return {column: row[column].strip() for column in columns}


def _write(
    path: Path, rows: Sequence[object], schema: pa.Schema, metadata: Mapping[str, str]
) -> None:
    """Replace *path* by rename, so that no reader and no hard link sees half of it."""
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    table = pa.table(columns, schema=schema).replace_schema_metadata(dict(metadata))
    scratch = _scratch(path)
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(path)


def _read(
    path: Path, schema: pa.Schema, metadata: Sequence[str], mend: str
) -> tuple[pa.Table, dict[str, str]]:
    """Return the table and those keys of its *metadata*."""
    try:
        read = pq.read_table(path)
        stored = read.schema.metadata or {}
        table = read.select(schema.names).cast(schema)
        return table, {key: stored[key.encode()].decode() for key in metadata}
    except FileNotFoundError:
        raise DatasetError(f"{path.name} is missing", f"looked for {path}", mend=mend) from None
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise DatasetError(
            f"{path.name} is damaged", f"{type(error).__name__}: {error}"[:200], mend=mend
        ) from None


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
