"""How an error crosses Prefect: as a failed state with the error's own lines, never a traceback."""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.results import ResultRecord  # type: ignore[attr-defined]
from prefect.states import Failed

from pipeline.errors import CommandError, DarkroomError, of_the_system

_INTERRUPT_SECONDS = 8
"""From Ctrl-C to the prompt; a stage is ended within the first of them."""


def attempt(work: Callable[[], Any]) -> Any:
    """Return what *work* returns, or a failed state that carries its error."""
    try:
        return work()
    except DarkroomError as error:
        return Failed(message=str(error), data=error)
    except Exception as error:
        told = (of_the_system(error) if isinstance(error, OSError) else None) or _bug(error)
        return Failed(message=str(told), data=told)


def value(state: Any) -> Any:
    """Return the result of a completed state; raise the DarkroomError that another one carries.

    *state* is what Prefect returns for `return_state=True`, which it types as many things.
    """
    if state.is_completed():
        return state.result()
    if isinstance(error := _carried(state), DarkroomError):
        raise error
    raise CommandError(
        (state.message or state.name or "failed").splitlines()[0], mend="read the log above"
    )


def worth_a_retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = _carried(state)
    return isinstance(error, DarkroomError) and error.retryable


ONCE_MORE: dict[str, Any] = {
    "cache_policy": NO_CACHE,  # a task's result is what it left on the disk
    "retries": 1,
    "retry_delay_seconds": 5,
    "retry_condition_fn": worth_a_retry,
}
"""How every task of ours runs: an error that may pass (`retryable`) is tried again."""


def log_line(line: str) -> None:
    get_run_logger().info(line)


def _carried(state: State[Any]) -> Any:
    """Return what a state was made with, wherever Prefect keeps it."""
    return state.data.result if isinstance(state.data, ResultRecord) else state.data


class _NoEmptyTraceback(logging.Filter):
    """Prefect logs a failed state as if an exception were at hand: it prints "NoneType: None"."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is None:
            record.exc_info = None
        return True


logging.getLogger("prefect.task_runs").addFilter(_NoEmptyTraceback())


def _bug(error: Exception) -> DarkroomError:
    """Its traceback goes to a file, its name to the person."""
    log = Path(os.environ.get("DARKROOM_HOME", ".")).resolve() / ".darkroom/last-error.txt"
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
    return CommandError(
        f"an unexpected {type(error).__name__}: {error}"[:200],
        f"its traceback: {log}",
        mend="report it, with that file",
    )


def call(flow: Flow[..., Any], *arguments: Any) -> Any:
    """Run *flow* here and now; return its result, or raise the DarkroomError of its failure."""
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        state = flow(*arguments, return_state=True)
    finally:
        signal.signal(signal.SIGINT, before)
    logging.getLogger("prefect").setLevel(logging.WARNING)  # an error's own lines stay the last
    return value(state)


def _interrupt(number: int, frame: object) -> None:
    """Ctrl-C ends Prefect's temporary server too; its client would call it for minutes."""
    patience = threading.Timer(_INTERRUPT_SECONDS, _leave)
    patience.daemon = True
    patience.start()
    raise KeyboardInterrupt


def _leave() -> None:
    sys.stderr.write("darkroom: interrupted; the same command goes on where it can\n")
    sys.stderr.flush()
    os._exit(130)


def main(flow: Flow[..., Any]) -> None:
    """Run *flow* as a program of its own."""
    try:
        call(flow)
    except DarkroomError as error:
        sys.exit(f"darkroom: {error}")
