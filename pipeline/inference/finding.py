"""What a person names on a command line → files: themselves, folders, patterns, a list to read."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.data.folders import entries, printable
from pipeline.errors import SourceError
from pipeline.inference.rows import NewFile


def find_files(names: Iterable[str], listed: Iterable[str]) -> Iterator[NewFile]:
    """Yield the files that *names* lead to, in their order, each as often as it is named; the name
    "-" stands for those of *listed*.

    A folder stands for every file below it but hidden ones; what does not exist is taken for a
    pattern (`*`, `?`, `**`). Raises SourceError where a name leads nowhere.
    """
    for name in names:
        if name == "-":
            yield from find_files((line.rstrip("\n") for line in listed if line.strip()), ())
            continue
        path = Path(name)
        if path.is_dir():
            yield from _below(path)
        elif os.path.lexists(path):
            yield _file(path)
        elif found := sorted(glob.glob(name, recursive=True)):  # noqa: PTH207, of any root
            for each in map(Path, found):
                yield from _below(each) if each.is_dir() else [_file(each)]
        else:
            raise SourceError(
                f"there is no file, folder or match: {printable(name)[:200]}",
                mend="quote patterns, and mind where the command runs",
            )


def _below(folder: Path) -> Iterator[NewFile]:
    for entry in entries(folder):
        path, found = folder / entry.relative, entry.stat
        size, modified_ns = (found.st_size, found.st_mtime_ns) if found else (0, 0)
        yield NewFile(printable(str(path)), str(path), size, modified_ns, refusal=entry.refusal)


def _file(path: Path) -> NewFile:
    """A link that a person names means what it leads to."""
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except OSError as error:
        raise SourceError(
            f"a file cannot be found: {error.strerror}", printable(str(path)), mend="mind the link"
        ) from None
    return NewFile(printable(str(path)), str(real), found.st_size, found.st_mtime_ns)
