"""Verbs about the dataset."""

import click

from pipeline.cli.here import project_here, say


@click.command()
def ingest() -> None:
    """Take the images of data.source in as a new dataset version."""
    from pipeline.operations.ingest import run

    project = project_here()
    run(project.workspace, project.home, project.params, say)
