"""The verb about making a version again."""

import click

from pipeline.cli.here import project_here, say


@click.command()
@click.argument("version", metavar="VERSION")
def reproduce(version: str) -> None:
    """Make a registered version again, and say whether the same weights and metrics come out.

    VERSION is a number, or models:/NAME/VERSION, or models:/NAME@ALIAS. The recorded commit, patch,
    parameters and dataset are put into a scratch worktree; every stage from split on runs anew.
    """
    from pipeline.operations.reproduce import run

    project = project_here()
    run(project.workspace, project.home, project.params, version, say)
