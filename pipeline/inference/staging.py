"""A batch in the making: whole parts of rows, aside, until one rename publishes them all.

What a killed run has staged counts: the next one goes on after its last part.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inference.predictions import Gathered, known_of, write_part
from pipeline.inference.rows import PredictionRow

_ROWS_A_PART = 10_000
_SECONDS_A_PART = 30.0
_COLUMNS = ["path", "sha256", "bytes", "modified_ns"]


class Staging:
    """One process at a time: the caller holds the model's lock."""

    def __init__(self, folder: Path) -> None:
        """Go on with what is whole in *folder*."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".part").unlink(missing_ok=True)
        self._rows = Gathered()
        self._begun = time.monotonic()
        try:
            self._go_on(sorted(folder.glob("part-*.parquet")))
        except (pa.ArrowException, OSError):  # a damaged disk: their images are answered again
            shutil.rmtree(folder)
            folder.mkdir()
            self._go_on([])

    def _go_on(self, parts: list[Path]) -> None:
        self.known = known_of(parts)
        self.images = self._identity = 0
        for part in parts:
            for row in pq.ParquetFile(part).read(_COLUMNS).to_pylist():
                self._count(**row)
        self._parts = len(parts)

    @property
    def identity(self) -> str:
        """The same for the same rows in any order, however often a run was killed between them."""
        return f"{self._identity:064x}"

    def add(self, row: PredictionRow) -> None:
        """Take one row; from time to time all that were taken become a part."""
        self._rows.add(row)
        self._count(row.path, row.sha256, row.bytes, row.modified_ns)
        is_due = time.monotonic() - self._begun > _SECONDS_A_PART
        if len(self._rows) == _ROWS_A_PART or is_due:
            self._flush()

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return so much of all rows, in their order."""
        self._flush()
        parts = sorted(self._folder.glob("part-*.parquet"))
        return pa.concat_tables(pq.ParquetFile(part).read(names) for part in parts)

    def put(self, name: str, content: bytes) -> None:
        """Lay a file down that is published with the rows."""
        (self._folder / name).write_bytes(content)
        _fsync(self._folder / name)

    def publish(self, target: Path) -> None:
        """Let the batch appear as *target*, whole, by one rename."""
        self._flush()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _put_aside(target)
        _fsync(self._folder)
        self._folder.rename(target)
        _fsync(target.parent)

    def _count(self, path: str, sha256: str | None, bytes: int, modified_ns: int) -> None:
        self.images += 1
        content = sha256 or f"{bytes} bytes of {modified_ns}"
        row = hashlib.sha256(f"{path}\0{content}".encode()).digest()
        self._identity = (self._identity + int.from_bytes(row)) % 2**256

    def _flush(self) -> None:
        """Write what was taken; a part has its name once it is on the disk."""
        if self._rows:
            scratch = self._folder / ".part"
            try:
                write_part(scratch, self._rows.table())
                _fsync(scratch)
                scratch.rename(self._folder / f"part-{self._parts:05d}.parquet")
            finally:
                scratch.unlink(missing_ok=True)  # of a full disk
            self._parts += 1
        self._rows, self._begun = Gathered(), time.monotonic()


def _put_aside(batch: Path) -> None:
    """What the same rows would take the place of: a batch whose parts a person moved away."""
    aside = batch.with_name(f".{batch.name}")
    shutil.rmtree(aside, ignore_errors=True)
    batch.rename(aside)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
