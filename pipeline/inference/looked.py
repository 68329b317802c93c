"""Which files of an inbox have been read since they were last changed, and so have their rows.

Name, size and time of change may be those of another file that lay here before; when the system
last changed a file (ctime) nobody can set. What is remembered may be lost: then all are read again.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inference.rows import NewFile


class Looked:
    """One process at a time: the caller holds the model's lock."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._before: dict[str, int] = {}
        with suppress(OSError, pa.ArrowException, KeyError):
            read = pq.ParquetFile(memory).read(["path", "changed_ns"])
            self._before = dict(zip(*(column.to_pylist() for column in read), strict=True))
        self._now: dict[str, int] = {}

    def at(self, file: NewFile) -> bool:
        """Whether it was looked at as it is now. What nobody asks for is forgotten."""
        if self._before.get(file.path) != file.changed_ns:
            return False
        self._now[file.path] = file.changed_ns
        return True

    def add(self, files: Iterable[NewFile]) -> None:
        self._now |= {file.path: file.changed_ns for file in files}

    def save(self) -> None:
        """A disk that is full costs only the reading again."""
        if self._now == self._before:
            return
        scratch = self._memory.with_suffix(".new")
        with suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            columns = {"path": list(self._now), "changed_ns": list(self._now.values())}
            pq.write_table(pa.table(columns), scratch)
            scratch.replace(self._memory)
