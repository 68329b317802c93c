"""One DVC stage as a child process: its lines streamed, its errors named, no orphan left."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.cards import read_error
from pipeline.errors import Busy, CommandError, DarkroomError
from pipeline.workspace import Workspace

_TERMINATION_SECONDS = 15
"""From the polite signal to the other one; a trainer saves its state in between."""


def reproduce(
    workspace: Workspace,
    stage: str,
    say: Callable[[str], None],
    *options: str,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Bring *stage* up to date; DVC decides whether it must run, unless its *options* say so.

    Raises the stage's own DarkroomError, Busy where another run holds it, else CommandError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "error.json"
        last: list[str] = []
        with _child(workspace, [*options, stage], environ, report) as child:
            for line in _lines(child):
                say(line)
                last = [*last, line][-5:]
        if child.returncode != 0:
            raise _error(stage, report, last)


@contextmanager
def _child(
    workspace: Workspace, arguments: list[str], environ: Mapping[str, str], report: Path
) -> Iterator[subprocess.Popen[str]]:
    """Run dvc in a process group of its own; whatever happens, end that group."""
    environment = {k: v for k, v in environ.items() if k != "DVC_ROOT"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment["DARKROOM_ERROR_FILE"] = str(report)
    child = subprocess.Popen(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *arguments],
        cwd=workspace.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
    )
    try:
        yield child
        child.wait()
    finally:
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """End what is left of its group: dvc may be dead while the stage that it started lives."""
    for number, patience in ((signal.SIGTERM, _TERMINATION_SECONDS), (signal.SIGKILL, 1)):
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
            while time.monotonic() < deadline:
                child.poll()  # lets a dead dvc go, so that its group can end
                os.killpg(child.pid, 0)
                time.sleep(0.05)
            continue
        return


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip():
            yield line.rstrip()


def _error(stage: str, report: Path, last: list[str]) -> DarkroomError:
    if report.is_file():
        return read_error(report)
    if busy := [line for line in last if "is busy" in line]:
        return Busy(
            f"stage {stage} waits for files that another run of DVC holds",
            busy[0],
            mend="wait until it is done, then run the same again",
        )
    return CommandError(
        f"stage {stage} failed", *last[-3:], mend=f"dvc repro {stage} shows all of it"
    )
