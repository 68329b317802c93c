"""What is new in the inbox, by folder, and whether somebody is still writing there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.data.folders import Entry, entries, printable
from pipeline.inference.metadata import METADATA
from pipeline.inference.rows import NewFile

READY = "_READY"
"""A file of this name says: the folder is complete, and all below it."""


@dataclass
class NewFolder:
    name: str
    """Below the inbox, printable; "." for the inbox's own files."""
    relative: str
    """The same, as the system names it."""
    files: list[NewFile] = field(default_factory=list)
    changed_ns: int = 0
    """When the last of them was written, renamed or had its rights changed, since 1970."""
    is_ready: bool = False

    def is_settled(self, now_ns: int, settle_seconds: float) -> bool:
        """Whether nobody has touched its new files for so long, or it says that it is complete."""
        return self.is_ready or now_ns - self.changed_ns >= settle_seconds * 1e9


def find_new(inbox: Path, home: Path, is_known: Callable[[NewFile], bool]) -> list[NewFolder]:
    """Return the folders below *inbox* with files that are not known to have their rows.

    Names that begin with a dot are left alone, and so is what is said of the images.
    """
    found: dict[str, NewFolder] = {}
    ready: set[PurePosixPath] = set()
    for entry, place in _files(inbox):
        if place.name == READY:
            ready.add(place.parent)
            continue
        new = new_file(entry, inbox, home)
        if new is None or is_known(new):
            continue
        folder = found.setdefault(
            str(place.parent), NewFolder(printable(str(place.parent)), str(place.parent))
        )
        folder.files.append(new)
        # Not modified_ns: that may be its original's, or of a camera whose clock was wrong.
        folder.changed_ns = max(folder.changed_ns, new.changed_ns)
    for folder in found.values():
        place = PurePosixPath(folder.relative)
        folder.is_ready = not ready.isdisjoint((place, *place.parents))
    return list(found.values())


def _files(inbox: Path) -> Iterator[tuple[Entry, PurePosixPath]]:
    for entry in entries(inbox):
        place = PurePosixPath(entry.relative)
        if place.name != METADATA:
            yield entry, place


def new_file(entry: Entry, inbox: Path, home: Path) -> NewFile | None:
    """Return how the rows name a file, and how it is now; None where it went away.

    A folder that cannot be entered, or lies too deep, stands for what is in it.
    """
    found = entry.stat
    if found is None and (entry.refusal is None or entry.refusal[0] == "gone"):
        return None
    file = inbox / entry.relative
    shown = printable(str(file.relative_to(home) if file.is_relative_to(home) else file))
    if found is None:
        return NewFile(shown, entry.relative, 0, 0, refusal=entry.refusal)
    times = found.st_mtime_ns, found.st_ctime_ns
    return NewFile(shown, entry.relative, found.st_size, *times)
