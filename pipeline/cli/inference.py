"""Verbs about new images."""

import click

from pipeline.cli.here import project_here, say


@click.command()
@click.option("--inbox", help="Folder of new images, for this run only.")
@click.option("--reclassify", is_flag=True, help="Also what an earlier version has answered.")
def classify(inbox: str | None, reclassify: bool) -> None:
    """Classify what is new in the inbox by the champion."""
    from pipeline.operations.classify import run

    project = project_here()
    run(project.home, project.params, inbox, say, reclassify=reclassify)
