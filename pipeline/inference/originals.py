"""The file that a row of predictions speaks of: found again, and taken only if it is the same."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from pipeline.data.folders import printable
from pipeline.data.reading import read_regular
from pipeline.errors import UnreadableImage

_STEM = 100
"""Letters that two files have in common of which one may be the other, renamed."""


def read_original(home: Path, archive: Path, path: str, sha256: str, limit: int) -> bytes:
    """Return the bytes of the file that a row names *path*, at most *limit* of them; below
    *archive* where it was moved there.

    Raises UnreadableImage: gone, changed (its content has another hash), or as `read_regular`.
    """
    try:
        return read_same(_find(home, path), sha256, limit)
    except OSError as error:
        missing = _no_folder(error)
    except UnreadableImage as error:
        missing = error
    for place in _archived(archive, PurePath(path)):
        with suppress(UnreadableImage):
            return read_same(place, sha256, limit)
    raise missing


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


def _archived(archive: Path, path: PurePath) -> Iterator[Path]:
    """Yield where `archive` may have moved the file: whichever folder on its way was the inbox, and
    by its own name or one with a time in it."""
    for cut in range(1, len(path.parts)):
        with suppress(OSError, UnreadableImage):
            folder = _find(archive, PurePath(*path.parts[cut:-1]))
            names = sorted(place.name for place in folder.iterdir())
            yield from (folder / name for name in names if _is_of(printable(name), path))


def _is_of(name: str, path: PurePath) -> bool:
    return name.startswith(path.stem[:_STEM]) and name.endswith(path.suffix)


def _find(home: Path, path: str | PurePath) -> Path:
    """Rows name files in printable characters; a name that has others is looked up."""
    found = home
    for part in PurePath(path).parts:
        found = found / part if "\\" not in part else _child(found, part)
    return found


def _child(folder: Path, shown: str) -> Path:
    named = (child for child in folder.iterdir() if printable(child.name) == shown)
    found = next(named, None)
    if found is None:
        raise UnreadableImage("gone", "no such file")
    return found
