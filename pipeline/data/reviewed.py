"""data/reviewed: images that a person has decided on, by class, and where each comes from.

provenance.csv says which they are; a file that it does not name (a killed copy, somebody's own)
is none of them.
"""

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from pipeline.data.folders import CLUTTER
from pipeline.data.tables import scratch_beside
from pipeline.errors import DatasetError
from pipeline.params import slug

PROVENANCE = "provenance.csv"
_MOST_LETTERS = 100
_FILE = re.compile(r"[^/]+/[0-9a-f]{16}\.[a-z]+")
_SCRATCH = re.compile(r"\.(provenance\.csv|[0-9a-f]{16}\.[a-z]+)\.\d+")


@dataclass(frozen=True)
class Reviewed:
    """One image, and what is known of the decision on it."""

    path: str
    """Relative to data/reviewed: CLASS/the first 16 digits of its sha256."""
    label: str
    sha256: str
    predicted: str
    because: str
    """Why it was shown: audit, least_certain, strange."""
    batch: str
    model_name: str
    model_version: str
    decided_at: str
    """UTC, ISO 8601."""
    found_at: str
    """Its path in the batch."""


def is_class_name(text: str) -> bool:
    """Whether a class that the model does not know may be called so: it names a folder."""
    return (
        0 < len(text) <= _MOST_LETTERS
        and len(text.encode(errors="replace")) <= 2 * _MOST_LETTERS
        and text.isprintable()
        and text == text.strip()
        and not text.startswith(".")
        and not set(text) & set("/\\")
        and text.lower() not in {name.lower() for name in (*CLUTTER, PROVENANCE)}
    )


def place_of(label: str, sha256: str, extension: str) -> str:
    """Return where an image lies in data/reviewed. A list may have classes that name no folder."""
    folder = label
    if not is_class_name(label):
        folder = f"{slug(label)[:60]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return f"{folder}/{sha256[:16]}{extension}"


def read_reviewed(folder: Path) -> list[Reviewed]:
    """Return what provenance.csv names; nothing where there is none. Raises DatasetError where it
    is damaged."""
    path = folder / PROVENANCE
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            found = [Reviewed(**line) for line in csv.DictReader(lines, strict=True)]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}"[:200]) from None
    for each in found:
        if None in astuple(each) or not _FILE.fullmatch(each.path) or each.path.startswith("."):
            raise _damaged(path, f"an image of it: {str(each.path)[:100]!r}")
    return found


def write_reviewed(folder: Path, reviewed: Iterable[Reviewed]) -> None:
    """Replace provenance.csv whole, sorted by path."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f.name for f in fields(Reviewed)])
    writer.writerows(astuple(each) for each in sorted(reviewed, key=lambda each: each.path))
    _lay_down(folder / PROVENANCE, out.getvalue().encode())


def put(folder: Path, place: str, data: bytes) -> bool:
    """Lay *data* down at *place*, whole or not at all; return False where it lies there already."""
    path = folder / place
    if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
        return False
    _lay_down(path, data)
    return True


def _lay_down(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_beside(path)
    with scratch.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(path)


def sweep(folder: Path) -> None:
    """Remove what a killed run has left half-written; the caller is the only one at work."""
    for scratch in [*folder.glob(".*"), *folder.glob("*/.*")]:
        if _SCRATCH.fullmatch(scratch.name) and scratch.is_file():
            scratch.unlink()


def _damaged(path: Path, fault: str) -> DatasetError:
    return DatasetError(
        f"{path.parent.name}/{path.name} is damaged",
        fault,
        mend="put it back from a backup; or remove it, and apply the files of decisions again",
    )
