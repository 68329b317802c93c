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
    table, metadata = _read(path, _CATALOGUE, mend="darkroom ingest, or dvc pull in a clone")
    return Catalogue(metadata["source"], tuple(CatalogueRow(**row) for row in table.to_pylist()))


def write_splits(path: Path, splits: Splits) -> None:
    metadata = {k: str(v) for k, v in asdict(splits).items() if k != "rows"}
    _write(path, splits.rows, _SPLITS, metadata)


def read_splits(path: Path) -> Splits:
    """Raise DatasetError where *path* is missing or damaged."""
    table, metadata = _read(path, _SPLITS, mend="dvc repro split")
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
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        if reader.fieldnames is None or list(reader.fieldnames) != list(columns):
            raise DatasetError(
                f"data/corrections/{path.name} has other columns than it must",
                f"its first line is {','.join(reader.fieldnames or ())!r}",
                mend=f"make its first line {','.join(columns)}",
            )
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if len(row["sha256"] or "") != 64 or None in row or None in row.values():
            raise DatasetError(
                f"data/corrections/{path.name}, line {number} is not a correction",
                "it must hold the 64 digits of an image's sha256, then " + ",".join(columns[1:]),
                mend="mend that line; the catalogue names every image's sha256",
            )
    return rows


def _write(
    path: Path, rows: Sequence[object], schema: pa.Schema, metadata: Mapping[str, str]
) -> None:
    """Replace *path* by rename, so that no reader and no hard link sees half of it."""
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    table = pa.table(columns, schema=schema).replace_schema_metadata(dict(metadata))
    scratch = _scratch(path)
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(path)


def _read(path: Path, schema: pa.Schema, mend: str) -> tuple[pa.Table, dict[str, str]]:
    try:
        table = pq.read_table(path).select(schema.names).cast(schema)
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        metadata = metadata or {
            k.decode(): v.decode() for k, v in (pq.read_schema(path).metadata or {}).items()
        }
    except FileNotFoundError:
        raise DatasetError(f"{path.name} is missing", f"looked for {path}", mend=mend) from None
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DatasetError(
            f"{path.name} is damaged", str(error).splitlines()[0][:200], mend=mend
        ) from None
    return table, metadata


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
