"""The file that a row of predictions speaks of: found again, and taken only if it is the same."""

import hashlib
from pathlib import Path

from pipeline.data.folders import printable
from pipeline.data.reading import read_regular
from pipeline.errors import UnreadableImage


def read_original(home: Path, path: str, sha256: str, limit: int) -> bytes:
    """Return the bytes of the file that a row names *path*, at most *limit* of them.

    Raises UnreadableImage: gone, changed (its content has another hash), or as `read_regular`.
    """
    try:
        return read_same(_find(home, path), sha256, limit)
    except OSError as error:
        raise _no_folder(error) from None


def read_same(file: Path, sha256: str, limit: int) -> bytes:
    """Return the bytes of *file*, at most *limit* of them; raises as `read_original` does."""
    try:
        data = read_regular(file, limit)
    except OSError as error:
        raise _no_folder(error) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UnreadableImage("changed", "its content is not what was predicted")
    return data


def _no_folder(error: OSError) -> UnreadableImage:
    """Of the folder that it lay in."""
    return UnreadableImage("gone", error.strerror or "its folder cannot be opened")


def _find(home: Path, path: str) -> Path:
    """Rows name files in printable characters; a name that has others is looked up."""
    found = home
    for part in Path(path).parts:
        found = found / part if "\\" not in part else _child(found, part)
    return found


def _child(folder: Path, shown: str) -> Path:
    named = (child for child in folder.iterdir() if printable(child.name) == shown)
    found = next(named, None)
    if found is None:
        raise UnreadableImage("gone", "no such file")
    return found
