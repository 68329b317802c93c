"""Rows → a table for people, JSON lines or CSV on standard output, or a file that appears whole."""

import csv
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pipeline.data.tables import scratch_beside
from pipeline.errors import ProjectError, legible, of_the_disk
from pipeline.inference.rows import PredictionRow
from pipeline.serving.abstention import AMBIGUOUS, NO_CLASS, OUT_OF_DISTRIBUTION

HEADER = f"{'label':<19}{'confidence':>10}  path"
"""Over the lines of `table_line`."""
MEANING = {
    OUT_OF_DISTRIBUTION: "unlike the images that the model knows",
    AMBIGUOUS: "several classes are possible",
    NO_CLASS: "no class is likely enough",
}
"""Why a label should not be relied on."""
_ROWS_A_GROUP = 2_000
SUFFIXES = (".parquet", ".csv", ".jsonl")
_FORMULA = re.compile(r"[=+\-@＝＋－＠\t\r\n](?!\d*\.?\d*$)")
"""How a cell begins that a spreadsheet runs; a sign alone, or before a number, is none."""


def table_line(row: PredictionRow) -> str:
    if row.label is None:
        return f"{'refused':<20} {row.reason:>8}  {row.path}"
    unsure = f"  ({row.abstain_reason})" if row.abstain_reason else ""
    return f"{legible(row.label):<20} {row.confidence:8.4f}  {row.path}{unsure}"


def legend(reasons: Collection[str]) -> Iterator[str]:
    """Explain what `table_line` says in parentheses."""
    for reason in sorted(reasons):
        yield f"({reason}): do not rely on the label: {MEANING.get(reason, 'docs/inference.md')}"


def json_line(row: PredictionRow) -> str:
    return json.dumps(vars(row), ensure_ascii=False)


def write_rows(path: Path, rows: Iterable[PredictionRow]) -> Iterator[PredictionRow]:
    """Write *rows* to *path*, in the format that its suffix says, and yield each as it is taken;
    the file appears by one rename when there are no more; where *path* is a link, where that leads.

    Raises ProjectError for another suffix, StorageError where it cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ProjectError(
            f"predictions are not written as {path.suffix or 'a file without a suffix'}",
            str(path),
            mend=f"name it {', '.join(SUFFIXES)}",
        )
    path = Path(os.path.realpath(path))
    scratch = scratch_beside(path)
    try:
        with _WRITERS[path.suffix](scratch) as write:
            for row in rows:
                write(row)
                yield row
        scratch.replace(path)
    except OSError as error:
        raise of_the_disk(error) or ProjectError(
            f"predictions cannot be written: {error.strerror}", str(path), mend="mend the path"
        ) from None
    finally:
        with suppress(OSError):  # where there can be none
            scratch.unlink()


@contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[PredictionRow], Any]]:
    with path.open("w", encoding="utf-8") as out:
        yield lambda row: out.write(json_line(row) + "\n")


@contextmanager
def _csv(path: Path) -> Iterator[Callable[[PredictionRow], Any]]:
    with path.open("w", encoding="utf-8", newline="") as out:
        yield csv_writer(out)


def csv_writer(out: TextIO) -> Callable[[PredictionRow], Any]:
    """Return what writes one row, the header before the first; mappings are JSON in their cell, and
    what a spreadsheet would run as a formula begins with an apostrophe."""
    names = list(PredictionRow.__dataclass_fields__)
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()

    def write(row: PredictionRow) -> None:
        writer.writerow({name: _cell(value) for name, value in vars(row).items()})

    return write


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    if isinstance(value, Mapping | Sequence):
        return json.dumps(value, ensure_ascii=False)
    return value


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[PredictionRow], Any]]:
    import pyarrow.parquet as pq  # a third of a second, for those who want it

    from pipeline.inference.predictions import SCHEMA, Gathered

    waiting = Gathered()
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:

        def write(row: PredictionRow) -> None:
            nonlocal waiting
            waiting.add(row)
            if len(waiting) == _ROWS_A_GROUP:
                writer.write_table(waiting.table())
                waiting = Gathered()

        yield write
        if waiting:
            writer.write_table(waiting.table())


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
