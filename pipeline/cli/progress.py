"""How training looks: a bar on a terminal, plain lines elsewhere, and its pace at the end."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from pipeline.cli.counting import open_bar
from pipeline.training.loop import Epoch, Look, Step
from pipeline.training.pace import Pace, duration


@contextmanager
def watching(epochs: int) -> Iterator[Callable[[Step | Look | Epoch], None]]:
    """Yield what is to be called with every step and epoch; tell the pace where all went well."""
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes, one is seen
    pace, started = Pace(), time.perf_counter()
    if not is_first:
        yield lambda record: None
        return
    if sys.stderr.isatty():
        with _bar(epochs, pace) as watch:
            yield watch
    else:
        yield lambda record: _line(record, epochs, pace)
    if pace.seconds:
        whole = duration(time.perf_counter() - started)
        click.echo(f"took {whole}; trained at {pace.images_per_second:,.0f} images/s")


def describe(epoch: Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch}/{epochs}  loss {epoch.train_loss:.4f}  "
        f"validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.4f}"
    )


def describe_step(step: Step, epochs: int, images_per_second: float) -> str:
    return (
        f"epoch {step.epoch}/{epochs}  loss {step.loss:.4f}  accuracy {step.accuracy:.3f}  "
        f"{images_per_second:,.0f} images/s"
    )


def describe_look(look: Look, epochs: int) -> str:
    return f"epoch {look.epoch}/{epochs}  validation: {look.images:,} of {look.of:,} images"


@contextmanager
def _bar(epochs: int, pace: Pace) -> Iterator[Callable[[Step | Look | Epoch], None]]:
    with open_bar() as progress:
        bar = progress.add_task("before the first step", total=None)

        def watch(record: Step | Look | Epoch) -> None:
            if isinstance(record, Epoch):
                progress.console.print(describe(record, epochs), highlight=False)
                return
            if isinstance(record, Look):
                progress.update(bar, description=describe_look(record, epochs))
                return
            pace.see(record, time.perf_counter())
            progress.update(
                bar,
                total=epochs * record.of,
                completed=(record.epoch - 1) * record.of + record.number,
                description=describe_step(record, epochs, pace.images_per_second),
            )

        yield watch


def _line(record: Step | Look | Epoch, epochs: int, pace: Pace) -> None:
    if isinstance(record, Epoch):
        click.echo(describe(record, epochs))
    elif isinstance(record, Step):
        pace.see(record, time.perf_counter())
