"""Parquet files: replaced whole or not at all, read with errors that say what to do."""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DatasetError

_ROWS_A_BATCH = 4096


def to_table(rows: Iterable[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    batches = []
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_A_BATCH)):
        arrays = map(pa.array, zip(*some, strict=True), schema.types)
        batches.append(pa.record_batch(list(arrays), schema=schema))
    return pa.Table.from_batches(batches, schema)


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Replace *path* by rename, so that no reader and no hard link sees half of it."""
    scratch = scratch_beside(path)
    pq.write_table(table.replace_schema_metadata(dict(metadata)), scratch, compression="zstd")
    scratch.replace(path)


def read_table(
    path: Path, schema: pa.Schema, metadata: Sequence[str], mend: str
) -> tuple[pa.Table, dict[str, str]]:
    """Return the columns of *schema*, then any others as text, and those keys of the metadata.

    Raises DatasetError where *path* is missing or damaged.
    """
    try:
        read = pq.read_table(path)
        stored = read.schema.metadata or {}
        others = [name for name in read.schema.names if name not in schema.names]
        wanted = pa.schema([*schema, *(pa.field(name, pa.string()) for name in others)])
        table = read.select(wanted.names).cast(wanted)
        return table, {key: stored[key.encode()].decode() for key in metadata}
    except FileNotFoundError:
        raise DatasetError(f"{path.name} is missing", f"looked for {path}", mend=mend) from None
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise DatasetError(
            f"{path.name} is damaged", f"{type(error).__name__}: {error}"[:200], mend=mend
        ) from None


def scratch_beside(path: Path) -> Path:
    """Return where *path* is written before it is renamed into place."""
    return path.with_name(f".{path.name}.{os.getpid()}")
