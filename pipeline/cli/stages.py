"""The stages of dvc.yaml: DVC runs them; `dvc repro` is the way to call them."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import click

from pipeline.cli.here import project_here, say

_OTHERS = {"DARKROOM_ERROR_FILE", "DVC_EXP_NAME"}
"""Set where a flow registers what comes out, or an experiment does not."""


@click.command()
def split() -> None:
    """Stage: assign each image of the dataset to train, validation or test."""
    from pipeline.stages.split import run

    project = project_here()
    run(project.workspace, project.params, say)


@click.command()
def train() -> None:
    """Stage: train a network; keep the epoch that validates best."""
    with _going_on():
        _train()


@contextmanager
def _going_on() -> Iterator[None]:
    """Say to whoever interrupts that little is lost. (During its steps, SIGTERM is an error that
    says more.)"""
    kept = "the same command goes on from the last checkpoint: of every half minute, and epoch"
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"darkroom: interrupted; {kept}")
    except SystemExit as ended:
        if ended.code == 128 + signal.SIGTERM:
            click.echo(f"darkroom: told to end; {kept}", err=True)
        raise


def _train() -> None:
    from pipeline.cli.processes import (
        end_with_starter,
        is_worker,
        telling_starter,
        train_together,
        wanted,
    )

    end_with_starter()
    project = project_here()
    count = wanted(project.params.train)
    if count > 1 and not is_worker():
        train_together(count)
        return
    from pipeline.cli.progress import watching
    from pipeline.stages.train import run

    telling = telling_starter() if is_worker() else nullcontext()
    with telling, watching(project.params.train.epochs) as watch:
        run(project.workspace, project.home, project.params, say, watch)


@click.command()
def export() -> None:
    """Stage: seal the model that will serve, and check it against torch."""
    from pipeline.stages.export import run

    project = project_here()
    run(project.workspace, project.home, project.params, say)


@click.command()
def evaluate() -> None:
    """Stage: measure the sealed model on the validation split."""
    from pipeline.stages.evaluate import run

    project = project_here()
    run(project.workspace, project.home, project.params, say)
    page = project.workspace.evaluation.relative_to(project.workspace.root) / "index.html"
    say(f"look at {page}")
    if not _OTHERS & set(os.environ):
        say("next: darkroom register opens the test split and registers the model, if it is new")
