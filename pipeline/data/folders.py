"""Walking a folder of class folders: every file named once, no link followed, nothing opened."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLUTTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave behind; .dvcignore names it too."""
_CLUTTER = frozenset(map(str.lower, CLUTTER))
"""Ignored, however it is written, as every name that begins with a dot is."""
_DEEPEST = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a source, not yet looked into."""

    path: str
    """Relative to the source, printable, and different for every file."""
    relative: str
    """The same, as the system names it."""
    label: str
    """Name of its class; empty where it has none."""
    stat: os.stat_result | None
    """None where there is nothing to read."""
    refusal: tuple[str, str] | None = None
    """Reason and detail, where it is refused already."""
    columns: tuple[str | None, ...] = ()
    """What a list says of it besides."""


def entries(folder: Path) -> Iterator[Entry]:
    """Yield every file below *folder*, sorted; the first folder on its way is its class."""
    descriptor = os.open(folder, _FOLDER & ~os.O_NOFOLLOW)
    try:
        yield from _walk(descriptor, "", "", 1)
    finally:
        os.close(descriptor)


def printable(name: str) -> str:
    """Return *name* as text that any table and terminal can hold: bytes that are not UTF-8 and
    characters that do not print are escaped, and so are backslashes; no two names become one."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(c if c.isprintable() and c != "\\" else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return "\\\\" if character == "\\" else f"\\u{code:04x}"


def _walk(descriptor: int, prefix: str, label: str, depth: int) -> Iterator[Entry]:
    for name in sorted(os.listdir(descriptor), key=os.fsencode):
        if name.startswith(".") or name.lower() in _CLUTTER:
            continue
        relative = prefix + name
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError as error:  # of a folder that may be listed, but not entered
            reason = "gone" if isinstance(error, FileNotFoundError) else "unreadable"
            yield _refused(relative, label, reason, error.strerror or "")
            continue
        if not stat.S_ISDIR(found.st_mode):
            yield Entry(printable(relative), relative, label, found)
        elif depth == _DEEPEST:
            yield _refused(relative, label, "too_deep", f"more than {_DEEPEST} folders deep")
        else:
            yield from _enter(descriptor, name, relative, label or printable(name), depth)


def _enter(parent: int, name: str, relative: str, label: str, depth: int) -> Iterator[Entry]:
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        yield _refused(relative, label, "unreadable", error.strerror or "cannot be opened")
        return
    try:
        yield from _walk(descriptor, relative + "/", label, depth + 1)
    finally:
        os.close(descriptor)


def _refused(relative: str, label: str, reason: str, detail: str) -> Entry:
    return Entry(printable(relative), relative, label, None, (reason, detail))
