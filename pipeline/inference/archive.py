"""Files of the inbox that have their rows, moved out of the way."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from pipeline.data.folders import entries
from pipeline.data.reading import read_regular
from pipeline.data.tables import scratch_beside
from pipeline.errors import UnreadableImage, of_the_disk
from pipeline.inference.inbox import new_file
from pipeline.inference.predictions import Known
from pipeline.inference.rows import NewFile

_STEM = 200
"""Bytes of a name that may have 255, with room for what tells it from another."""


@dataclass(frozen=True)
class Archived:
    moved: int
    stuck: tuple[str, ...]
    """Files for which there is no place, and why."""


def archive(inbox: Path, home: Path, target: Path, known: Known, limit: int) -> Archived:
    """Move every file below *inbox* that *known* has a row for, as it is now, to the same place
    below *target*. What lies there already under that name keeps it, and the new one is named by
    its time of change as well. *limit*: the largest file that is read, in bytes.

    Raises StorageError where *target* cannot be written.
    """
    moved, stuck = 0, []
    for entry in list(entries(inbox)):
        new = new_file(entry, inbox, home)
        if new is None or new.refusal or not _has_row(new, inbox, known, limit):
            continue
        try:
            moved += _move(inbox / entry.relative, target / entry.relative, new)
        except OSError as error:
            if told := of_the_disk(error):
                raise told from None
            stuck.append(f"{new.path}: {error.strerror}")
    return Archived(moved, tuple(stuck))


def _has_row(new: NewFile, inbox: Path, known: Known, limit: int) -> bool:
    """By its content: name, size and time may be those of another that lay here before."""
    if new.path in known.paths:
        with suppress(UnreadableImage):
            data = read_regular(inbox / new.relative, limit)
            return (new.path, hashlib.sha256(data).hexdigest()) in known.contents
    return (new.path, new.bytes, new.modified_ns) in known.unread


def _move(file: Path, place: Path, new: NewFile) -> bool:
    """Return False where another was delivered under its name, or somebody has taken it away."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        found = file.lstat()
        if (found.st_size, found.st_mtime_ns) == (new.bytes, new.modified_ns):
            _rename(file, _free(place, new.modified_ns))
            return True
    return False


def _rename(file: Path, place: Path) -> None:
    try:
        file.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _carry(file, place)


def _carry(file: Path, place: Path) -> None:
    """To another file system: the copy has its name when it is whole."""
    scratch = scratch_beside(place.with_name("carried"))
    try:
        shutil.copy2(file, scratch, follow_symlinks=False)
        scratch.rename(place)
    except OSError as error:
        error.filename = error.filename if error.errno != errno.ENOSPC else str(place)
        raise
    finally:
        scratch.unlink(missing_ok=True)
    file.unlink()


def _free(place: Path, modified_ns: int) -> Path:
    """Return *place*, or the first name of its kind that nothing has."""
    stem = os.fsdecode(os.fsencode(place.stem)[:_STEM])
    later = (f"{stem}.{modified_ns}{again}{place.suffix}" for again in chain([""], _numbers()))
    names = map(place.with_name, chain([place.name], later))
    return next(name for name in names if not os.path.lexists(name))


def _numbers() -> Iterator[str]:
    return (f".{number}" for number in count(1))
