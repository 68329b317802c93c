"""Files of the inbox that have their rows, moved out of the way."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from pipeline.data.folders import entries
from pipeline.inference.inbox import new_file
from pipeline.inference.predictions import Known


def archive(inbox: Path, home: Path, target: Path, known: Known) -> int:
    """Move every file below *inbox* that *known* has a row for, as it is now, to the same place
    below *target*; return how many. What lies there already under that name keeps it, and the new
    one is named by its time of change as well.

    Raises OSError where *target* cannot be written.
    """
    moved = 0
    for entry in list(entries(inbox)):
        new = new_file(entry, inbox, home)
        if new is None or (new.path, new.bytes, new.modified_ns) not in known.states:
            continue
        place = target / entry.relative
        if os.path.lexists(place):
            place = place.with_name(f"{place.stem}.{new.modified_ns}{place.suffix}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # somebody has taken it away
            shutil.move(inbox / entry.relative, place)
            moved += 1
    return moved
