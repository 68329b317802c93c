"""One process at a time: the others leave by a named error, and may come again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import Busy


@contextmanager
def held(lock: Path, busy: Busy) -> Iterator[None]:
    """Hold *lock*; raise *busy* where somebody else does. A dead owner's lock is gone with it."""
    file = FileLock(lock, timeout=0)
    try:
        file.acquire()
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        file.release()
