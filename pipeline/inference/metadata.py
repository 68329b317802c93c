"""What people say of their images in a metadata.csv beside them: it travels into the rows."""

import csv
import io
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.data.reading import read_regular
from pipeline.errors import SourceError, UnreadableImage

METADATA = "metadata.csv"
_LIMIT = 64 * 2**20
Columns = Mapping[str, str]


@dataclass(frozen=True)
class Metadata:
    file: Path | None
    """None where there is none, in the folder or above it."""
    columns: Mapping[str, Columns]
    """Column → value of each image that it names, by its path below the inbox."""


def metadata_of(inbox: Path, folder: str, images: Collection[str]) -> Metadata:
    """Return what is said of the *images* of *folder*, paths below *inbox*.

    The nearest metadata.csv counts: the folder's own, or that of a folder above it, whose column
    `path` then leads down to the images. Raises SourceError where it cannot be read.
    """
    place = PurePosixPath(folder)
    for above in (place, *place.parents):
        file = inbox / above / METADATA
        if _is_file(file):
            below = {str(PurePosixPath(image).relative_to(above)): image for image in images}
            return Metadata(file, {below[name]: row for name, row in _read(file, below)})
    return Metadata(None, {})


def _is_file(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:  # there is none; or its path is longer than any
        return False


def _read(file: Path, wanted: Collection[str]) -> Iterator[tuple[str, Columns]]:
    """Yield the rows of those *wanted*; of a long list there may be few."""
    try:
        yield from _rows(file, wanted)
    except UnreadableImage as error:
        raise _refused(file, error.detail) from None
    except UnicodeDecodeError:
        raise _refused(file, "it is not UTF-8") from None
    except csv.Error as error:
        raise _refused(file, str(error)) from None


def _rows(file: Path, wanted: Collection[str]) -> Iterator[tuple[str, Columns]]:
    text = read_regular(file, _LIMIT).decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = reader.fieldnames or ()
    if "path" not in columns:
        raise _refused(file, f"it has no column path, but {', '.join(columns)[:80] or 'nothing'}")
    seen: set[str] = set()
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise _refused(file, f"row {number} has not as many values as there are columns")
        name = str(PurePosixPath(row.pop("path")))
        if name in seen:
            raise _refused(file, f"row {number} names {name[:80]} again")
        seen.add(name)
        if name in wanted:
            yield name, row


def _refused(file: Path, why: str) -> SourceError:
    return SourceError(
        f"a {METADATA} of the inbox cannot be read",
        f"{file}: {why}",
        "nothing of its folder was classified",
        mend="mend it (UTF-8, commas, a column path, a line an image), or take it away",
    )
