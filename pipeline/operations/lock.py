"""One writer of data/dataset at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import Busy
from pipeline.holding import held
from pipeline.workspace import Workspace


@contextmanager
def dataset_lock(workspace: Workspace) -> Iterator[None]:
    """Raise Busy where somebody else holds it."""
    busy = Busy("another ingest or verify is at work in this project", mend="wait until it is done")
    with held(workspace.root / ".dvc/tmp/darkroom-ingest.lock", busy):
        yield
