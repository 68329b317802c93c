"""Verbs about what a network starts from."""

from pathlib import Path

import click

from pipeline.cli.here import project_here, say


@click.group()
def weights() -> None:
    """Choose what the next training starts from."""


@weights.command()
@click.argument("version", metavar="models:/NAME/VERSION")
def use(version: str) -> None:
    """Start from a registered model: fetch its weights, and name them in params.yaml.

    models:/NAME@ALIAS will do as well, such as models:/digits@champion.
    """
    from pipeline.operations.weights import use as run

    project = project_here()
    run(project.workspace, project.home, project.params, version, say)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="FILE.safetensors by default.")
def convert(file: Path, out: Path | None) -> None:
    """Make a .safetensors of FILE, a .pth that holds a state dict; nothing in it is run."""
    from pipeline.operations.weights import convert as run

    done = run(file, out or file.with_suffix(".safetensors"))
    say(f"{done.path}: {done.tensors} tensors, SHA-256 {done.sha256}")
