"""Registers that are killed: what runs in a child, in a module that a child can import."""

import os
from typing import Any

from mlflow import MlflowClient
from registrations import Project

from pipeline.operations import register
from pipeline.tracking import publish

KILLED = 9
"""Exit code."""
_READS = ("get_", "search_", "list_", "download_")


class Dying:
    """A store whose owner is killed before its *last* write."""

    def __init__(self, store: MlflowClient, writes: list[str], last: int) -> None:
        self._store, self._writes, self._last = store, writes, last

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name.startswith(_READS):
            return found

        def write(*arguments: Any, **options: Any) -> Any:
            if len(self._writes) == self._last:
                os._exit(KILLED)
            self._writes.append(name)
            return found(*arguments, **options)

        return write


def register_and_die(project: Project, last: int, report: Any = None) -> None:
    """Register in this process, a child, until it is killed."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    writes: list[str] = []
    for module in (register, publish):
        connect = module.connect

        def dying(*arguments: Any, connect: Any = connect, **options: Any) -> Dying:
            return Dying(connect(*arguments, **options), writes, last)

        module.connect = dying  # type: ignore[attr-defined]
    project.register()
    if report is not None:
        report.put(writes)
