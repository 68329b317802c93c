"""Reading other people's files: regular ones alone, through no link, whole or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UnreadableImage

_ATTEMPTS = 3
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_regular(file: Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most *limit* bytes, following no link at its end.

    Raises UnreadableImage: not_a_file, too_large, gone, unreadable, or changing (while it was
    read, three times).
    """
    with _refused(), opened_folder(file.parent) as folder:
        return read_beneath(folder, file.name, limit)[0]


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Yield a descriptor of the folder *path*, to read beneath; *path* itself may be a link."""
    descriptor = os.open(path, _FOLDER & ~os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_beneath(root: int, relative: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a regular file below the folder *root*, and what it was when it was
    opened; no link is followed on the way. Raises UnreadableImage, as `read_regular` does."""
    for _ in range(_ATTEMPTS):
        with _refused():
            descriptor = _open_beneath(root, relative)  # os.fdopen refuses a folder its own way
        try:
            before = os.fstat(descriptor)
            data = _read(descriptor, before, limit)
            if _state(os.fstat(descriptor)) == _state(before) and len(data) == before.st_size:
                return data, before
        finally:
            os.close(descriptor)
    raise UnreadableImage("changing", "it was written to while it was read")


def _read(descriptor: int, found: os.stat_result, limit: int) -> bytes:
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableImage("not_a_file", "not a regular file")
    if found.st_size > limit:
        raise UnreadableImage("too_large", f"{found.st_size} bytes; at most {limit} are read")
    try:
        return _read_whole(descriptor, found.st_size)
    except OSError as error:
        raise UnreadableImage("unreadable", error.strerror or "cannot be read") from None


def _read_whole(descriptor: int, size: int) -> bytes:
    """Return what a file holds, and one byte more where it has grown beyond *size*."""
    parts = []
    left = size + 1
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _open_beneath(root: int, relative: str) -> int:
    """Open a file below *root*, whatever has been put in its folders' place since it was found."""
    *folders, name = relative.split("/")
    descriptor = root
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=descriptor)
            if descriptor != root:
                os.close(descriptor)
            descriptor = below
        return os.open(name, _FILE, dir_fd=descriptor)
    finally:
        if descriptor != root:
            os.close(descriptor)


@contextmanager
def _refused() -> Iterator[None]:
    """Say why a file cannot be opened, or a folder on the way to it."""
    try:
        yield
    except FileNotFoundError:
        raise UnreadableImage("gone", "it went away before it was read") from None
    except PermissionError as error:
        raise UnreadableImage("unreadable", error.strerror or "no right to read it") from None
    except OSError as error:  # a link, a socket, a device without a driver
        raise UnreadableImage("not_a_file", error.strerror or "cannot be opened") from None


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
