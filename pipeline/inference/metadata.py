"""What people say of their images in a metadata.csv beside them: it travels into the rows."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.data.reading import read_regular
from pipeline.errors import SourceError, UnreadableImage

METADATA = "metadata.csv"
_LIMIT = 64 * 2**20
Columns = Mapping[str, str]


def metadata_of(inbox: Path, folder: str) -> dict[str, Columns]:
    """Return column → value of each image of *folder*, by its path below *inbox*.

    The nearest metadata.csv counts: the folder's own, or that of a folder above it, whose column
    `path` then leads down to the images. Raises SourceError where it cannot be read.
    """
    place = PurePosixPath(folder)
    for above in (place, *place.parents):
        file = inbox / above / METADATA
        if file.is_file() and not file.is_symlink():
            return {str(above / name): row for name, row in _read(file).items()}
    return {}


def _read(file: Path) -> dict[str, Columns]:
    try:
        text = read_regular(file, _LIMIT).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(reader)
    except UnreadableImage as error:
        raise _refused(file, error.detail) from None
    except UnicodeDecodeError:
        raise _refused(file, "it is not UTF-8") from None
    except csv.Error as error:
        raise _refused(file, str(error)) from None
    if "path" not in (reader.fieldnames or ()):
        raise _refused(file, "it has no column path")
    found: dict[str, Columns] = {}
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _refused(file, f"row {number} has not as many values as there are columns")
        name = str(PurePosixPath(row.pop("path")))
        if name in found:
            raise _refused(file, f"row {number} names {name[:80]} again")
        found[name] = row
    return found


def _refused(file: Path, why: str) -> SourceError:
    return SourceError(
        f"a {METADATA} of the inbox cannot be read",
        f"{file}: {why}",
        "nothing of its folder was classified",
        mend="mend it (UTF-8, a column path, a line an image), or take it away",
    )
