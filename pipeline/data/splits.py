"""data/splits.parquet: which split each image is in. It stands for the images in later stages.

It holds what those stages compute with and nothing else: renaming a photo trains nothing anew.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa

from pipeline.data.tables import read_table, write_table

USED = ("train", "validation", "test")
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class SplitRow:
    """One image and the split that it belongs to."""

    sha256: str
    file: str
    label: str | None
    width: int
    height: int
    split: str
    """One of USED, or LEFT_OUT."""
    reason: str | None
    """Why it is left out, in a word: excluded, label_conflict, copies_disagree, near_test,
    near_val."""
    detail: str | None
    """A person's own reason, what its copies disagree about, or the sha256 of the image that it
    is near."""


@dataclass(frozen=True)
class Splits:
    rows: tuple[SplitRow, ...]
    """Sorted by sha256."""
    seed: int
    validation: float
    test: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted: the order of every model's outputs."""
        return tuple(
            sorted({row.label for row in self.rows if row.label and row.split != LEFT_OUT})
        )

    def of(self, split: str) -> tuple[SplitRow, ...]:
        return tuple(row for row in self.rows if row.split == split)


_SCHEMA = pa.schema(
    [(f.name, pa.int64() if f.type is int else pa.string()) for f in fields(SplitRow)]
)


def write_splits(path: Path, splits: Splits) -> None:
    write_table(
        path,
        _table(splits.rows),
        {k: str(v) for k, v in asdict(splits).items() if k != "rows"},
    )


def read_splits(path: Path) -> Splits:
    """Raise DatasetError where *path* is missing or damaged."""
    needed = ("seed", "validation", "test")
    table, metadata = read_table(path, _SCHEMA, needed, mend="dvc repro split")
    return Splits(
        rows=tuple(SplitRow(**row) for row in table.to_pylist()),
        seed=int(metadata["seed"]),
        validation=float(metadata["validation"]),
        test=float(metadata["test"]),
    )


def _table(rows: Sequence[SplitRow]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}
    return pa.table(columns, schema=_SCHEMA)
