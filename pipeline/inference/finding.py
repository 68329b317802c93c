"""What a person names on a command line → files: themselves, folders, patterns, a list to read."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.data.folders import entries, printable
from pipeline.errors import SourceError
from pipeline.inference.inbox import READY
from pipeline.inference.metadata import METADATA
from pipeline.inference.rows import NewFile

_NO_IMAGES = {READY, METADATA}
"""Files of an inbox that are about its images."""


def find_files(names: Sequence[str], listed: Iterable[str]) -> Iterator[NewFile]:
    """Return the files that *names* lead to, in their order, each as often as it is named; the name
    "-" stands for those of *listed*, a name a line.

    A folder stands for every file below it but hidden ones; what does not exist is taken for a
    pattern (`*`, `?`, `**`), or where a list names it, is a file that is gone. Raises SourceError,
    before anything is yielded, where one of *names* leads nowhere.
    """
    return _files([(name, _places(name) if name != "-" else []) for name in names], listed)


def _files(named: list[tuple[str, list[Path]]], listed: Iterable[str]) -> Iterator[NewFile]:
    for name, places in named:
        for place in _of_list(listed) if name == "-" else places:
            yield from _below(place) if _is_folder(place) else [_file(place)]


def _of_list(lines: Iterable[str]) -> Iterator[Path]:
    names = (line.rstrip("\n").removesuffix("\r") for line in lines)
    return (Path(name) for name in names if name.strip())


def _places(name: str) -> list[Path]:
    if os.path.lexists(name):
        return [Path(name)]
    found = []
    with suppress(OSError):  # longer than any name
        found = [Path(each) for each in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207, of any root
    if not found:
        raise SourceError(
            f"there is no file, folder or match: {printable(name)[:200] or 'an empty name'}",
            mend="quote patterns, and mind where the command runs",
        )
    return found


def _is_folder(place: Path) -> bool:
    with suppress(OSError):  # longer than any name
        return place.is_dir()
    return False


def _below(folder: Path) -> Iterator[NewFile]:
    for entry in entries(folder):
        path, found = folder / entry.relative, entry.stat
        if path.name not in _NO_IMAGES:
            state = (found.st_size, found.st_mtime_ns) if found else (0, 0)
            yield NewFile(printable(str(path)), str(path), *state, refusal=entry.refusal)


def _file(path: Path) -> NewFile:
    """A link that a person names means what it leads to."""
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except (OSError, RuntimeError, ValueError) as error:  # links in a ring; a name that none can be
        gone = ("gone", getattr(error, "strerror", None) or "no such file")
        return NewFile(printable(str(path)), str(path), 0, 0, refusal=gone)
    return NewFile(printable(str(path)), str(real), found.st_size, found.st_mtime_ns)
