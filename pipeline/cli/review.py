"""Verbs about a person's decisions on new images."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.here import project_here, say
from pipeline.project import Project

if TYPE_CHECKING:
    from pipeline.inference.review import Counts


@click.group()
def review() -> None:
    """Decide on images of a batch: page, then apply."""


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options that say which images of which batch."""
    for option in reversed(
        (
            click.argument("batch", required=False, metavar="[BATCH]"),
            click.option("--audit", type=int, help="Drawn blindly; inference.audit by default."),
            click.option("--least-certain", default=25, show_default=True, help="By confidence."),
            click.option("--strange", default=25, show_default=True, help="Out of distribution."),
        )
    ):
        command = option(command)
    return command


@review.command()
@_choosing
def page(batch: str | None, audit: int | None, least_certain: int, strange: int) -> None:
    """Write review/BATCH.html, by default of the newest batch; open it in a browser."""
    from pipeline.operations.review import page as run

    project = project_here()
    run(project.home, project.params, batch, _counts(project, audit, least_certain, strange), say)


@review.command()
@_choosing
@click.option("--label-studio", is_flag=True, required=True, help="As tasks for Label Studio.")
def export(
    batch: str | None, audit: int | None, least_certain: int, strange: int, label_studio: bool
) -> None:
    """Write the same images for another tool, to decide there; apply reads its export."""
    from pipeline.operations.review import export_label_studio as run

    project = project_here()
    run(project.home, project.params, batch, _counts(project, audit, least_certain, strange), say)


@review.command()
@click.argument("file", type=click.Path(path_type=Path))
def apply(file: Path) -> None:
    """Copy the images that FILE decides on to data/reviewed; say the live accuracy."""
    from pipeline.operations.apply_review import run

    project = project_here()
    run(project.home, project.params, file, say)
    from pipeline.tracking.batches import show_batches  # seconds, for MLflow

    show_batches(project.home, project.params.model_name, say)


def _counts(project: Project, audit: int | None, least_certain: int, strange: int) -> "Counts":
    from pipeline.inference.review import MOST, Counts

    audit = project.params.inference.audit if audit is None else audit
    counts = Counts(audit, least_certain, strange)
    if min(audit, least_certain, strange) < 0 or not 0 < counts.together <= MOST:
        raise click.UsageError(
            f"a review has 1 to {MOST} images, over all three reasons; these are {counts.together} "
            f"({audit} by --audit or inference.audit)"
        )
    return counts
