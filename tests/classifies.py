"""Runs of `classify` that are killed while they tell MLflow, or that race each other: what runs in
a child, in a module that a child can import."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.cli.__main__ import main
from pipeline.errors import DarkroomError
from pipeline.operations import classify
from pipeline.params import load_params
from pipeline.tracking import batches
from pipeline.workspace import Home

_DISK = ("open", "os.mkdir", "os.rename")
"""Python's own names of what is done to files, as its audit tells them."""
Moment = str


def run(root: Path, last: Moment = "", report: Any = None) -> None:
    """Classify the inbox of the project in *root*; be killed at *last*, a moment of its work.

    *report* is a queue that gets all moments there are, where nothing kills.
    """
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    moments: list[Moment] = []

    def reach(moment: Moment) -> None:
        moments.append(moment)
        if moment == last:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(root, reach)
    classify.run(Home(root), load_params(root / "params.yaml"), None, lambda line: None)
    if report is not None:
        report.put(moments)


def _watch(root: Path, reach: Callable[[Moment], None]) -> None:
    """Let *reach* be called before every folder, and at every moment of telling MLflow."""
    counts: Counter[str] = Counter()
    answer, whole = classify.classify_folder, batches.publish_batches

    def count(kind: str) -> None:
        counts[kind] += 1
        reach(f"{kind}:{counts[kind]}")

    def watched(client: MlflowClient, *arguments: Any) -> int:
        with _disk_and_database(root, count):
            return whole(_Watched(client, count), *arguments)  # type: ignore[arg-type]

    def answered(*arguments: Any, **options: Any) -> Any:
        count("folder")
        return answer(*arguments, **options)

    classify.classify_folder, batches.publish_batches = answered, watched


class _Watched:
    """MLflow's client; what is called is told before, and when it is done."""

    def __init__(self, client: MlflowClient, reach: Callable[[str], None]) -> None:
        self._client, self._reach = client, reach

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._reach(f"before {name}")
            answer = found(*arguments, **options)
            self._reach(f"after {name}")
            return answer

        return call


@contextmanager
def _disk_and_database(root: Path, reach: Callable[[str], None]) -> Iterator[None]:
    """Tell each statement before it reaches the database, each commit, and each change of a file of
    MLflow's before it is made."""
    over, place = False, str(root / "mlruns")

    def statement(*_: Any) -> None:
        reach("statement")

    def commit(*_: Any) -> None:
        reach("commit")

    def audit(name: str, arguments: tuple[Any, ...]) -> None:  # never taken back: Python has no way
        if over or name not in _DISK or place not in f"{arguments[0]} {arguments[1]}":
            return
        if name != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR):
            reach(name)

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", commit)
    sys.addaudithook(audit)
    try:
        yield
    finally:
        over = True
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", commit)


def at_once(root: Path, barrier: Any, report: Any) -> None:
    """Classify as all who wait at *barrier* begin; tell *report*, a queue, the error's first line,
    or nothing where all went well."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    params = load_params(root / "params.yaml")
    barrier.wait(60)
    try:
        classify.run(Home(root), params, None, lambda line: None)
        report.put("")
    except DarkroomError as error:
        report.put(error.what)
    except BaseException as error:
        report.put(f"a bug: {error!r}")
        raise


def verb(root: Path, output: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
    """Be `darkroom` with these *arguments* in the project in *root*; what it prints is in
    *output*."""
    os.chdir(root)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ |= {"PWD": str(root)} | environ
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["darkroom", *arguments]
    main()


def held_up(
    root: Path, output: Path, environ: dict[str, str], moment: Moment, reached: Any, go: Any
) -> None:
    """Be `darkroom classify`; at *moment*, say so by the event *reached*, and wait for *go*."""

    def reach(now: Moment) -> None:
        if now == moment:
            reached.set()
            go.wait()

    _watch(root, reach)
    verb(root, output, ("classify",), environ)
