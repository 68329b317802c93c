"""Files that were being read when a run died: tried again alone, the third death is the last.

A decoder that crashes takes the process with it, and every batch would end at the same file for
ever. What each thread is at is written into a small file of its own, without waiting for the disk:
the system keeps it for a process that is killed.
"""

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MOST_DEATHS = 3
_DEATHS = "deaths.json"


class Journal:
    """One process at a time: the caller holds the model's lock."""

    def __init__(self, folder: Path) -> None:
        """Count what was under way in *folder* when the last run died."""
        self._folder = folder
        self._thread = threading.local()
        self._files: list[int] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.deaths = Counter(_read(folder / _DEATHS, {}))
        """How often a run died while it was at a file, by its path."""
        notes = list(folder.glob("at-*"))
        under_way = {name for note in notes for name in _read(note, [])}
        if under_way:
            self.deaths.update(under_way)
            scratch = folder / f".{_DEATHS}"
            scratch.write_text(json.dumps(self.deaths))
            scratch.replace(folder / _DEATHS)
        for note in notes:
            note.unlink()

    @contextmanager
    def at(self, names: Sequence[str]) -> Iterator[None]:
        """Note that this thread is at *names* while the block runs."""
        if not hasattr(self._thread, "file"):
            note = self._folder / f"at-{threading.get_ident()}"
            self._thread.file = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._files.append(self._thread.file)
        file = self._thread.file
        os.pwrite(file, json.dumps(names).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(file, 0)

    def close(self) -> None:
        """Nothing is under way any more."""
        for file in self._files:
            os.close(file)
        self._files.clear()
        for note in self._folder.glob("at-*"):
            note.unlink()

    def forget(self) -> None:
        """The batch is published."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(path: Path, nothing: dict[str, int] | list[str]) -> dict[str, int] | list[str]:
    """A note that was torn, or a damaged one, says nothing."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return nothing
    return found if isinstance(found, type(nothing)) else nothing
