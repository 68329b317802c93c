"""Verbs about a person's decisions on new images."""

from pathlib import Path

import click

from pipeline.cli.here import project_here, say

_MOST = 200
"""Images on one page."""


@click.group()
def review() -> None:
    """Decide on images of a batch: page, then apply."""


@review.command()
@click.argument("batch", required=False, metavar="[BATCH]")
@click.option("--audit", default=50, show_default=True, help="Images drawn blindly.")
@click.option("--least-certain", default=25, show_default=True, help="By confidence.")
@click.option("--strange", default=25, show_default=True, help="Unlike what the model knows.")
def page(batch: str | None, audit: int, least_certain: int, strange: int) -> None:
    """Write review/BATCH.html, by default of the newest batch; open it in a browser."""
    from pipeline.inference.review import Counts
    from pipeline.operations.review import page as run

    if min(audit, least_certain, strange) < 0 or not 0 < audit + least_certain + strange <= _MOST:
        raise click.UsageError(f"a page has 1 to {_MOST} images, over all three reasons")
    project = project_here()
    run(project.home, project.params, batch, Counts(audit, least_certain, strange), say)


@review.command()
@click.argument("file", type=click.Path(path_type=Path))
def apply(file: Path) -> None:
    """Copy the images that FILE decides on to data/reviewed; say the live accuracy."""
    from pipeline.operations.apply_review import run

    project = project_here()
    run(project.home, project.params, file, say)
