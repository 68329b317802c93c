"""Reading each file of a source once, safely, into content-addressed copies."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from pipeline.data.appearance import appearance
from pipeline.data.reading import opened_folder, read_beneath
from pipeline.data.records import Record, settled_stamp, stamp_of
from pipeline.errors import UnreadableImage
from pipeline.serving.images import EXTENSIONS, Limits, inspect, turn_for

_IN_FLIGHT = 256
_PASSING = ("gone", "unreadable", "changing")
"""Reasons that may not hold the next time, though the file's stamp is the same."""


def take(
    names: Iterable[str], root: Path, staging: Path, images: Path, limits: Limits
) -> Iterator[Record]:
    """Read each file of *names*, relative to *root*, once; yield one record a file, in order.

    What *images* does not hold (any more) is copied into *staging*, under its content's name.
    """
    remaining = iter(names)
    with opened_folder(root) as folder, ThreadPoolExecutor(os.cpu_count()) as threads:
        while some := list(islice(remaining, _IN_FLIGHT)):
            yield from threads.map(
                lambda name: _take_in_turn(name, folder, staging, images, limits), some
            )


def _take_in_turn(name: str, root: int, staging: Path, images: Path, limits: Limits) -> Record:
    try:
        size = os.stat(name, dir_fd=root, follow_symlinks=False).st_size
    except OSError:  # it is told when it is read
        size = 0
    with turn_for(size):
        return _take_one(name, root, staging, images, limits)


def _take_one(name: str, root: int, staging: Path, images: Path, limits: Limits) -> Record:
    found = None
    try:
        data, found = read_beneath(root, name, limits.bytes)
        inspected = inspect(data, limits)
    except UnreadableImage as error:
        return _refused(found, error.reason, error.detail)
    digest = hashlib.sha256(data).hexdigest()
    copy = f"{digest[:2]}/{digest}{EXTENSIONS[inspected.format]}"
    if not _holds(images / copy, data):
        (staging / copy).parent.mkdir(parents=True, exist_ok=True)
        (staging / copy).write_bytes(data)
    seen = appearance(inspected.picture)
    return (
        *settled_stamp(found),
        digest,
        copy,
        inspected.width,
        inspected.height,
        inspected.mode,
        seen.phash,
        seen.brightness,
        seen.sharpness,
        None,
        None,
    )


def _refused(found: os.stat_result | None, reason: str, detail: str) -> Record:
    known = stamp_of(None) if found is None or reason in _PASSING else settled_stamp(found)
    return (*known, *[None] * 8, reason, detail)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
