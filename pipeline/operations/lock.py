"""One writer of data/dataset at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from pipeline.errors import Busy
from pipeline.workspace import Workspace


@contextmanager
def dataset_lock(workspace: Workspace) -> Iterator[None]:
    """Raise Busy where somebody else holds it; a dead owner's lock is gone with it."""
    lock = FileLock(workspace.root / ".dvc/tmp/darkroom-ingest.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(
            "another ingest or verify is at work in this project", mend="wait until it is done"
        ) from None
    try:
        yield
    finally:
        lock.release()
