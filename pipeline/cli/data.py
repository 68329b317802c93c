"""Verbs about the dataset."""

import os

import click

from pipeline.cli.here import project_here, say


@click.command()
@click.option("--rescan", is_flag=True, help="Read every file again, changed or not.")
def ingest(rescan: bool) -> None:
    """Take the images of data.source in as a new dataset version."""
    # Arrow's own allocator keeps what it frees: a sixth more at the peak
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from pipeline.cli.counting import counting
    from pipeline.operations.ingest import run

    project = project_here()
    with counting("taking in") as watch:
        run(project.workspace, project.home, project.params, say, watch, rescan=rescan)
    page = project.workspace.data_report.relative_to(project.workspace.root) / "index.html"
    say(f"next: dvc repro trains on it; its first stage writes {page}: look there")


@click.group()
def data() -> None:
    """Look into the dataset: what changed, what is damaged."""


@data.command()
def verify() -> None:
    """Hash every file of the dataset again; mend what is damaged from the source or a remote."""
    from pipeline.cli.counting import counting
    from pipeline.operations.verify import run

    project = project_here()
    with counting("hashing") as watch:
        run(project.workspace, project.home, say, watch)


@data.command()
@click.argument("revision", default="HEAD", metavar="REV")
def diff(revision: str) -> None:
    """Show what changed in the dataset since REV, a git revision or an MLflow run (its id or
    name): images added, removed and relabelled, with pictures."""
    from pipeline.operations.diff import run

    project = project_here()
    run(project.workspace, project.home, project.params.model_name, revision, say)
