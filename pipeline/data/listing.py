"""A list of images as a source: a CSV or Parquet file with the columns path and label.

Paths start at the list's own folder and stay in it. Any further columns travel into the
catalogue; `group` keeps images together, `split` says which split an image belongs to.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.catalogue import CATALOGUE
from pipeline.data.folders import Entry, printable
from pipeline.data.splits import USED
from pipeline.errors import SourceError

SUFFIXES = (".csv", ".parquet")
_NEEDED = ("path", "label")


def columns(path: Path) -> tuple[str, ...]:
    """Return the names of the list's columns but for path and label; raise SourceError."""
    _, names = next(_records(path), (1, []))
    missing = [name for name in _NEEDED if name not in names]
    if missing and len(names) == 1 and ";" in names[0]:
        raise SourceError(
            f"the list {path.name} is separated by semicolons",
            f"its first line: {printable(names[0])}",
            mend="save it with commas",
        )
    if missing:
        raise SourceError(
            f"the list {path.name} has no column {' and no column '.join(missing)}",
            f"its columns: {', '.join(map(printable, names)) or 'none'}",
            mend="name them in its first line: path,label (then group, split, or any others)",
        )
    others = tuple(name for name in names if name not in _NEEDED)
    wrong = [n for n in others if n in CATALOGUE.names or not n or n != printable(n)]
    if wrong or len(set(names)) < len(names):
        raise SourceError(
            f"the list {path.name} has a column that cannot be kept: "
            + (printable(wrong[0]) or "one without a name" if wrong else "a name used twice"),
            f"its columns: {', '.join(map(printable, names))}",
            f"taken by the catalogue: {', '.join(CATALOGUE.names)}",
            mend="rename that column",
        )
    return others


def entries(path: Path, others: Sequence[str]) -> Iterator[Entry]:
    """Yield one entry for each line of the list; raise SourceError naming a line that is none."""
    records = _records(path)
    _, names = next(records)
    wanted = [names.index(name) for name in (*_NEEDED, *others)]
    split = others.index("split") if "split" in others else None
    seen: dict[str, tuple[str, list[str]]] = {}
    for number, record in records:
        if len(record) != len(names):
            raise _wrong(path, number, f"{len(record)} cells for {len(names)} columns")
        named, label, *values = (record[i] for i in wanted)
        if split is not None and values[split] not in (*USED, ""):
            raise _wrong(path, number, f"split is {values[split]!r}, not one of {', '.join(USED)}")
        yield _entry(path.parent, named, label, values, number, seen)


def _entry(
    root: Path,
    named: str,
    label: str,
    values: list[str],
    number: int,
    seen: dict[str, tuple[str, list[str]]],
) -> Entry:
    rest = tuple(value or None for value in values)
    relative = _inside(root, named)
    shown = printable(relative or named) or f"line {number}"
    label = printable(label.strip())
    if relative is None:
        refusal = ("outside", "not a path that stays in the list's folder")
    elif seen.get(relative) == (label, values):
        refusal = ("listed_twice", "an earlier line of the list says the same")
    else:  # a line that says otherwise of the same file is a copy that disagrees
        seen[relative] = (label, values)
        try:
            found = os.lstat(root / relative)
            return Entry(shown, relative, label, found, columns=rest)
        except (OSError, ValueError) as error:
            refusal = ("gone", getattr(error, "strerror", None) or "no such file")
    return Entry(shown, relative or "", label, None, refusal, rest)


def _inside(root: Path, named: str) -> str | None:
    """Return *named* relative to *root*; None where it leads elsewhere, or nowhere."""
    path = PurePosixPath(named)
    if path.is_absolute():
        if not path.is_relative_to(root):
            return None
        path = path.relative_to(root)
    return None if not path.parts or ".." in path.parts else str(path)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of the columns, then the cells of each line, with the line's number."""
    try:
        yield from (_csv if path.suffix.lower() == ".csv" else _parquet)(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise SourceError(
            f"the list {path.name} cannot be read as a table",
            f"{type(error).__name__}: {error}"[:200],
            mend="save it as CSV in UTF-8, or as Parquet",
        ) from None


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        yield from ((reader.line_num, cells) for cells in reader if cells)


def _parquet(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Its names are line 1, as in the same table saved as CSV."""
    file = pq.ParquetFile(path)
    yield 1, list(file.schema_arrow.names)
    number = 1
    for batch in file.iter_batches():
        texts = [column.cast(pa.string()) for column in batch.columns]
        cells = [text.fill_null("").to_pylist() for text in texts]
        for record in zip(*cells, strict=True):
            number += 1
            yield number, list(record)


def _wrong(path: Path, number: int, fault: str) -> SourceError:
    return SourceError(
        f"line {number} of the list {path.name} cannot be used", fault, mend="mend that line"
    )
