"""The verb about hyperparameters."""

import click

from pipeline.cli.here import project_here, say


@click.command()
@click.option("--apply", is_flag=True, help="Write the best of the study to params.yaml.")
def tune(apply: bool) -> None:
    """Try the ranges of `tune` in params.yaml; rank by validation. Goes on where it was killed."""
    from pipeline.cli.counting import counting
    from pipeline.operations.tune import run

    project = project_here()
    with counting("tuning, epochs") as watch:
        run(project.workspace, project.home, project.params, say, watch, apply=apply)
