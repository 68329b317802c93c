"""Files of the inbox that have their rows, moved out of the way."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from pipeline.data.folders import entries
from pipeline.data.reading import read_regular
from pipeline.errors import UnreadableImage
from pipeline.inference.inbox import new_file
from pipeline.inference.predictions import Known
from pipeline.inference.rows import NewFile

_STEM = 200
"""Bytes of a name that may have 255, with room for what tells it from another."""


def archive(inbox: Path, home: Path, target: Path, known: Known, limit: int) -> int:
    """Move every file below *inbox* that *known* has a row for, as it is now, to the same place
    below *target*; return how many. What lies there already under that name keeps it, and the new
    one is named by its time of change as well. *limit*: the largest file that is read, in bytes.

    Raises OSError where *target* cannot be written.
    """
    moved = 0
    for entry in list(entries(inbox)):
        new = new_file(entry, inbox, home)
        if new is None or new.refusal or not _has_row(new, inbox, known, limit):
            continue
        place = _free(target / entry.relative, new.modified_ns)
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # somebody has taken it away
            shutil.move(inbox / entry.relative, place)
            moved += 1
    return moved


def _has_row(new: NewFile, inbox: Path, known: Known, limit: int) -> bool:
    state = (new.path, new.bytes, new.modified_ns)
    if state in known.states or state in known.unread:
        return True
    if new.path not in known.paths:
        return False
    try:  # it may only have been touched
        data = read_regular(inbox / new.relative, limit)
    except UnreadableImage:
        return False
    return (new.path, hashlib.sha256(data).hexdigest()) in known.contents


def _free(place: Path, modified_ns: int) -> Path:
    """Return *place*, or the first name of its kind that nothing has."""
    stem = os.fsdecode(os.fsencode(place.stem)[:_STEM])
    later = (f"{stem}.{modified_ns}{again}{place.suffix}" for again in chain([""], _numbers()))
    names = map(place.with_name, chain([place.name], later))
    return next(name for name in names if not os.path.lexists(name))


def _numbers() -> Iterator[str]:
    return (f".{number}" for number in count(1))
