"""Several processes that train one network: torchrun as a child, its failure told by name."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.cards import read_error, write_error
from pipeline.errors import CommandError, DarkroomError, of_the_disk
from pipeline.params import TrainParams

_GLANCE_SECONDS = 0.5
_RESTARTS = 3
_TERMINATION_SECONDS = 40
"""From the polite signal to the other one: torchrun gives its workers 30 to save their state."""
_LAST_WORDS_SECONDS = 5
"""For the others, once one has told a named error: on GPUs they would wait for it for minutes."""


def wanted(train: TrainParams) -> int:
    """Return how many processes are to train: for `auto`, one for each GPU."""
    if train.processes != "auto":
        return train.processes
    if train.device == "cpu":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def end_with_starter() -> None:
    """Let this process be told to end, by SIGTERM, as soon as the one that started it is gone.

    Whatever it is at: importing, decoding, training (which then saves first).
    """
    starter = os.getppid()

    def watch() -> None:
        while os.getppid() == starter and not _pipe_is_closed():
            time.sleep(_GLANCE_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="starter", daemon=True).start()


def _pipe_is_closed() -> bool:
    """Workers inherit a pipe as their standard input; its end is that of who holds the other one,
    and torchrun itself would go on."""
    return is_worker() and bool(select.select([sys.stdin], [], [], 0)[0])


def is_worker() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def train_together(count: int) -> None:
    """Let *count* processes train, started anew, from the last checkpoint, where one of them dies.

    Raises the error that they told, else CommandError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "error.json"
        with _child(count, report) as child:
            _wait(child, report)
        if report.is_file():
            raise read_error(report)
    if child.returncode != 0:
        raise CommandError(
            f"training in {count} processes failed",
            f"torchrun gave up after {_RESTARTS} restarts; what it said is above",
            mend="dvc repro goes on from the last checkpoint; train.processes: 1 does without it",
        )


@contextmanager
def telling_starter() -> Iterator[None]:
    """Leave an error for who started torchrun, which would else start the same again."""
    report = Path(os.environ["DARKROOM_ERROR_FILE"])
    if report.is_file():
        sys.exit(0)
    try:
        yield
    except DarkroomError as error:
        write_error(report, error)
        sys.exit(0)
    except OSError as error:
        known = of_the_disk(error)
        if known is None:
            raise
        write_error(report, known)
        sys.exit(0)


@contextmanager
def _child(count: int, report: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run torchrun in a process group of its own, so that signals reach it through us alone."""
    threads = max(1, (os.cpu_count() or 1) // count)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    environment["DARKROOM_ERROR_FILE"] = str(report)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", str(count), "--max-restarts", str(_RESTARTS)]
    child = subprocess.Popen(
        [*torchrun, "-m", "pipeline.cli", "train"],
        env=environment,
        stdin=subprocess.PIPE,  # its end is how workers learn that this process is gone
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _end(child)


def _wait(child: subprocess.Popen[bytes], report: Path) -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    try:
        while child.poll() is None and not report.is_file():
            time.sleep(0.1)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_LAST_WORDS_SECONDS)
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_TERMINATION_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin is not None:
        child.stdin.close()
