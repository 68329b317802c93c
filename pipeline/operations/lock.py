"""One writer at a time: of data/dataset, of a project's part of the registry."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from pipeline.errors import Busy
from pipeline.holding import held
from pipeline.workspace import Home, Workspace

_REGISTRY_SECONDS = 30


@contextmanager
def dataset_lock(workspace: Workspace) -> Iterator[None]:
    """Raise Busy where somebody else holds it."""
    busy = Busy("another ingest or verify is at work in this project", mend="wait until it is done")
    with held(workspace.root / ".dvc/tmp/darkroom-ingest.lock", busy):
        yield


@contextmanager
def registry_lock(home: Home) -> Iterator[None]:
    """Wait for whoever registers or moves an alias now; raise Busy where that takes too long."""
    home.private.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home.private / "register.lock")
    try:
        lock.acquire(timeout=_REGISTRY_SECONDS)
    except Timeout:
        raise Busy(
            "another run registers or promotes in this project", mend="wait until it is done"
        ) from None
    try:
        yield
    finally:
        lock.release()
