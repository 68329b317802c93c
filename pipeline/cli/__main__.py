"""`darkroom`, and `python -m pipeline.cli`: parse, call, print; a failure takes a few lines."""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from pipeline.cards import write_error
from pipeline.errors import DarkroomError, of_the_system

VERBS = {
    "run": ("pipeline.cli.run", "Take in, train, register, classify: everything, under Prefect"),
    "ingest": ("pipeline.cli.data", "Take the source's images in as a new dataset version"),
    "data": (
        "pipeline.cli.data",
        "verify: hash it again and mend it; diff REV: what changed since",
    ),
    "tune": ("pipeline.cli.tune", "Try hyperparameters over the ranges of params.yaml"),
    "publish": ("pipeline.cli.models", "Complete this workspace's run in MLflow from its files"),
    "register": ("pipeline.cli.models", "Open the test split; register the model if it is new"),
    "reproduce": ("pipeline.cli.reproduce", "VERSION: make it again; does the same come out?"),
    "models": ("pipeline.cli.models", "Show the registered versions, and which serves"),
    "promote": ("pipeline.cli.models", "VERSION: make it champion, if it passed its gates"),
    "rollback": ("pipeline.cli.models", "Make the previous champion champion again"),
    "classify": ("pipeline.cli.inference", "Classify what is new in the inbox by the champion"),
    "predict": ("pipeline.cli.inference", "PATH...: classify any files, folders or a list of them"),
    "predictions": (
        "pipeline.cli.predictions",
        "What has been predicted: counts, the least confident, an export",
    ),
    "review": ("pipeline.cli.review", "page: images for a person to decide on; apply FILE; export"),
    "serve": ("pipeline.cli.serving", "Check a registered model and answer over HTTP by it"),
    "weights": ("pipeline.cli.weights", "use models:/NAME/VERSION: start from a registered model"),
    "convert": ("pipeline.cli.weights", "Make a .safetensors of a .pth, running nothing of it"),
    "ui": ("pipeline.cli.models", "Open MLflow on this project's runs"),
    "split": ("pipeline.cli.stages", "Stage: assign each image to a split"),
    "train": ("pipeline.cli.stages", "Stage: train a network"),
    "export": ("pipeline.cli.stages", "Stage: seal the model that will serve"),
    "evaluate": ("pipeline.cli.stages", "Stage: measure the sealed model on validation"),
}


class Verbs(click.Group):
    """Imports a verb's module when the verb is called, so that --help answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[name][0]), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def darkroom() -> None:
    """From folders of labelled images to a registered, trusted classifier."""


def main() -> None:
    # So that what must be said or undone at the end is, when somebody ends this politely
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        darkroom(standalone_mode=False)
    except DarkroomError as error:
        _fail(error)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit("darkroom: interrupted")
    except OSError as error:
        known = of_the_system(error)
        if known is None:
            raise
        _fail(known)


def _fail(error: DarkroomError) -> NoReturn:
    """Print *error*; leave it where the flow that started this process looks for it."""
    click.echo(f"darkroom: {error}", err=True)
    if report := os.environ.get("DARKROOM_ERROR_FILE"):
        write_error(Path(report), error)
    sys.exit(1)


if __name__ == "__main__":
    main()
