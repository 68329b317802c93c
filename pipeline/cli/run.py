"""`darkroom run`: everything, once, from the folder of images to classified new ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.here import project_here, say
from pipeline.project import Project
from pipeline.words import counted

if TYPE_CHECKING:
    from flows.everything import Done


@click.command()
@click.option("--source", help="Folder of class folders, or digits; written to params.yaml.")
@click.option("--inbox", help="Folder of new images, for this run only.")
def run(source: str | None, inbox: str | None) -> None:
    """Take in, train, register, classify: everything, under Prefect."""
    project = project_here()
    if source is not None:
        _write_source(project, source)
    from flows.everything import everything
    from flows.outcome import call

    for line in _summary(project, call(everything, inbox)):
        say(line)


def _write_source(project: Project, source: str) -> None:
    from pipeline.data.sources import open_source
    from pipeline.params import set_source

    path = source if source == "digits" else _within(Path(source).expanduser().resolve(), project)
    open_source(str(path), project.home)  # a mistyped one is not kept
    before = set_source(project.workspace.params, str(path))
    if before != str(path):
        say(f"params.yaml: data.source: {before} -> {path}")


def _summary(project: Project, done: "Done") -> Iterator[str]:
    from pipeline.inference.summary import describe

    registered, classified = done.registered, done.classified
    low, high = registered.interval
    yield ""
    yield f"Model        {registered.name} version {registered.number}: {registered.verdict}"
    yield (
        f"Test         accuracy {registered.accuracy:.4f}, 95% interval {low:.4f} to {high:.4f}, "
        f"{registered.images} {registered.seen}"
    )
    yield f"Champion     models:/{registered.name}@champion is version {registered.champion}"
    inbox, version = _within(classified.inbox, project), classified.model_version
    yield f"Classified   {counted(classified.images, 'new image')} of {inbox}, by version {version}"
    for batch in classified.batches:
        yield f"             {_within(batch.folder, project)}"
        yield from (f"             {line}" for line in describe(batch.summary))
        drift = batch.monitoring.drift
        if drift and drift.alarm:
            yield f"             {batch.monitoring.lines()[0]}"
    yield f"Evaluation   {_within(project.workspace.evaluation / 'index.html', project)}"
    if classified.batches:
        yield "Labels       darkroom predictions; darkroom review page lets a person check them"
    yield "Versions     darkroom models"
    yield "Look closer  make ui     (MLflow: runs, models, predictions)"


def _within(path: Path, project: Project) -> Path:
    """Return *path* relative to the project's home where it lies there."""
    home = project.home.root
    return path.relative_to(home) if path.is_relative_to(home) else path
