"""Reading each file of a source once, safely, into content-addressed copies."""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.data.catalogue import CatalogueRow, Refusal
from pipeline.data.sources import Entry
from pipeline.errors import UnreadableImage
from pipeline.serving.images import EXTENSIONS, ImageInfo, Limits, inspect

_IN_FLIGHT = 256


@dataclass(frozen=True)
class Taken:
    """One file that was read, decoded, hashed and copied."""

    entry: Entry
    sha256: str
    file: str
    bytes: int
    info: ImageInfo


def take(
    entries: Iterable[Entry], staging: Path, images: Path, limits: Limits
) -> Iterator[Taken | Refusal]:
    """Read each of *entries* once; yield one record an entry, in order.

    What *images* does not hold (any more) is copied into *staging*, under its content's name.
    """
    remaining = iter(entries)
    with ThreadPoolExecutor() as threads:
        while some := list(islice(remaining, _IN_FLIGHT)):
            yield from threads.map(lambda entry: _take_one(entry, staging, images, limits), some)


def resolve(records: Iterable[Taken | Refusal]) -> tuple[list[CatalogueRow], list[Refusal]]:
    """Turn records into the catalogue's rows and the quarantine's lines, both sorted.

    The same image twice in one class is kept once; under two classes it keeps no class.
    """
    refusals = []
    by_content: dict[str, list[Taken]] = defaultdict(list)
    for record in records:
        if isinstance(record, Refusal):
            refusals.append(record)
        else:
            by_content[record.sha256].append(record)
    rows = []
    for same in by_content.values():
        first = same[0]
        conflict = len({taken.entry.label for taken in same}) > 1
        for taken in same if conflict else same[1:]:
            reason = "label_conflict" if conflict else "duplicate"
            other = _of_another_class(taken, same) if conflict else first
            refusals.append(
                Refusal(taken.entry.path, reason, f"same content as {other.entry.path}")
            )
        rows.append(_row(first, None if conflict else first.entry.label))
    return sorted(rows, key=lambda row: row.sha256), sorted(refusals, key=lambda r: r.path)


def read_regular(file: Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most *limit* bytes, following no link.

    Raises UnreadableImage: not_a_file, too_large, unreadable, or changing (while it was read).
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "not_a_file" if file.is_symlink() or not file.is_file() else "unreadable"
        raise UnreadableImage(reason, error.strerror or "cannot be opened") from None
    with os.fdopen(descriptor, "rb") as opened:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableImage("not_a_file", "not a regular file")
        if before.st_size > limit:
            raise UnreadableImage("too_large", f"{before.st_size} bytes; at most {limit} are read")
        try:
            data = opened.read(limit + 1)
        except OSError as error:
            raise UnreadableImage("unreadable", error.strerror or "cannot be read") from None
        after = os.fstat(descriptor)
    if (len(data), after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UnreadableImage("changing", "it was written to while it was read")
    return data


def _take_one(entry: Entry, staging: Path, images: Path, limits: Limits) -> Taken | Refusal:
    if not entry.label:
        return Refusal(entry.path, "no_class", "not in a class folder")
    try:
        data = read_regular(entry.file, limits.bytes)
        info = inspect(data, limits)
    except UnreadableImage as error:
        return Refusal(entry.path, error.reason, error.detail)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{digest[:2]}/{digest}{EXTENSIONS[info.format]}"
    if not _holds(images / name, data):
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(data)
    return Taken(entry, digest, name, len(data), info)


def _of_another_class(taken: Taken, same: list[Taken]) -> Taken:
    return next(other for other in same if other.entry.label != taken.entry.label)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _row(taken: Taken, label: str | None) -> CatalogueRow:
    return CatalogueRow(
        sha256=taken.sha256,
        file=taken.file,
        path=taken.entry.path,
        label=label,
        bytes=taken.bytes,
        width=taken.info.width,
        height=taken.info.height,
        mode=taken.info.mode,
    )
