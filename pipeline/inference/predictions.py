"""Rows of predictions: their schema, and what is already known of a folder of images."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import StorageError
from pipeline.inference.rows import NewFile, PredictionRow

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("row", pa.int64()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("probabilities", pa.map_(pa.string(), pa.float64())),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("abstain_reason", pa.string()),
        ("conformal_set", pa.list_(pa.string())),
        ("ood_score", pa.float64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("brightness", pa.float64()),
        ("sharpness", pa.float64()),
        ("metadata", pa.map_(pa.string(), pa.string())),
        ("model_name", pa.string()),
        ("model_version", pa.int64()),
        ("serving_digest", pa.string()),
        ("variant", pa.string()),
        ("predicted_at", pa.string()),
    ]
)
_ROWS_AT_ONCE = 500
assert SCHEMA.names == [f.name for f in fields(PredictionRow)]


@dataclass(frozen=True)
class Known:
    """What any version of a model has been shown already."""

    contents: frozenset[tuple[str, str]]
    """(path, sha256)."""
    states: frozenset[tuple[str, int, int]]
    """(path, bytes, modified_ns): a file in one of these need not be read again."""
    unread: frozenset[tuple[str, int, int]]
    """The same of files that could not be read then; they may be readable now."""

    def describes(self, file: NewFile) -> bool:
        """Whether a row was made of a file of its name, size and time of change."""
        return (file.path, file.bytes, file.modified_ns) in self.states

    def has(self, file: NewFile) -> bool:
        """Whether a row may have been made of it: it may have been touched since."""
        return self.describes(file) or file.path in self.paths

    @cached_property
    def paths(self) -> frozenset[str]:
        """Of what could be read."""
        return frozenset(path for path, _ in self.contents)

    def __or__(self, other: "Known") -> "Known":
        return Known(
            self.contents | other.contents, self.states | other.states, self.unread | other.unread
        )


def model_folder(predictions: Path, model_name: str) -> Path:
    return predictions / f"model={model_name}"


def batch_folders(predictions: Path, model_name: str, version: int | None = None) -> list[Path]:
    """Return the published batches of all versions, or of one; sorted. A folder without rows is
    none."""
    which = "*" if version is None else version
    found = model_folder(predictions, model_name).glob(f"version={which}/batch=*")
    return sorted(folder for folder in found if any(folder.glob("part-*.parquet")))


def read_known(predictions: Path, model_name: str, version: int | None = None) -> Known:
    """Return what any version of the model has been shown, or that *version*."""
    folders = batch_folders(predictions, model_name, version)
    parts = [part for folder in folders for part in folder.glob("part-*.parquet")]
    try:
        return known_of(parts)
    except (pa.ArrowException, OSError) as error:
        raise damaged(model_folder(predictions, model_name), error) from None


def known_of(parts: Sequence[Path]) -> Known:
    """Raises what Arrow raises where one of *parts* cannot be read."""
    if not parts:
        return Known(frozenset(), frozenset(), frozenset())
    import pyarrow.dataset as ds  # brings pandas, and half a second

    columns = ["path", "sha256", "bytes", "modified_ns"]
    files = [str(part) for part in parts]
    table = ds.dataset(files, schema=SCHEMA, format="parquet").to_table(columns=columns)
    read = table.filter(pc.is_valid(table["sha256"]))
    unread = table.filter(pc.is_null(table["sha256"]))
    return Known(
        contents=_tuples(read, "path", "sha256"),
        states=_tuples(read, "path", "bytes", "modified_ns"),
        unread=_tuples(unread, "path", "bytes", "modified_ns"),
    )


def _tuples(table: pa.Table, *columns: str) -> frozenset[tuple[Any, ...]]:
    return frozenset(zip(*(table[name].to_pylist() for name in columns), strict=True))


def read_batch(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of one published batch, or some *columns* of them."""
    parts = sorted(folder.glob("part-*.parquet"))
    schema = pa.schema([SCHEMA.field(name) for name in columns or SCHEMA.names])
    try:
        read = [pq.ParquetFile(part).read(schema.names) for part in parts]
        table = pa.concat_tables([each.select(schema.names).cast(schema) for each in read])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise damaged(folder, error) from None
    if not len(table):
        raise damaged(folder, ValueError("it has no rows"))
    return table


def damaged(place: Path, error: Exception) -> StorageError:
    """Return what a person is told of rows in *place* that cannot be read."""
    return StorageError(
        "predictions that were published cannot be read",
        f"in {place}",
        str(error)[:200],
        mend="put the damaged file back from a backup, or move it away: its images are new then",
    )


class Gathered:
    """Rows on their way to a file. Some at a time become columns, which take a fraction of their
    memory."""

    def __init__(self) -> None:
        self._rows: list[PredictionRow] = []
        self._tables: list[pa.Table] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: PredictionRow) -> None:
        self._rows.append(row)
        self._count += 1
        if len(self._rows) == _ROWS_AT_ONCE:
            self._tables.append(table_of(self._rows))
            self._rows = []

    def table(self) -> pa.Table:
        return pa.concat_tables([*self._tables, table_of(self._rows)])


def write_part(path: Path, rows: pa.Table) -> None:
    pq.write_table(rows, path, compression="zstd")


def table_of(rows: Sequence[PredictionRow]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    for name in ("probabilities", "metadata"):
        columns[name] = [each and list(each.items()) for each in columns[name]]
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
