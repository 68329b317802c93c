"""How training looks: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from pipeline.cli.counting import open_bar
from pipeline.training.loop import Epoch, Step


@contextmanager
def watching(epochs: int) -> Iterator[Callable[[Step | Epoch], None]]:
    """Yield what is to be called with every step and epoch."""
    if not sys.stderr.isatty():
        yield lambda record: _line(record, epochs)
        return
    with open_bar() as progress:
        bar = progress.add_task("training", total=None)

        def watch(record: Step | Epoch) -> None:
            if isinstance(record, Step):
                done = (record.epoch - 1) * record.of + record.number
                progress.update(bar, total=epochs * record.of, completed=done)
            else:
                progress.console.print(describe(record, epochs), highlight=False)

        yield watch


def describe(epoch: Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch}/{epochs}  loss {epoch.train_loss:.4f}  "
        f"validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.4f}"
    )


def _line(record: Step | Epoch, epochs: int) -> None:
    if isinstance(record, Epoch):
        click.echo(describe(record, epochs))
