"""How long work looks: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_A_LINE = 10


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is to be called with how much is done, of how much."""
    if not sys.stderr.isatty():
        yield _sparse_lines(what)
        return
    with open_bar() as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(bar, total=of, completed=done)


def open_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _sparse_lines(what: str) -> Callable[[int, int], None]:
    due = time.monotonic() + _SECONDS_A_LINE

    def line(done: int, of: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due += _SECONDS_A_LINE
            click.echo(f"{what}: {done} of {of}")

    return line
