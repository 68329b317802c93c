"""Verbs about runs and models in MLflow."""

import os
import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.here import project_here, say

_WIDE = 300


@click.command()
def publish() -> None:
    """Complete this workspace's run in MLflow from its files; twice changes nothing."""
    from pipeline.tracking.publish import publish as run

    project = project_here()
    say(f"MLflow run {run(project.workspace, project.home, project.params.model_name)}")


@click.command()
def register() -> None:
    """Open the test split; register the model if it is new; champion if it passes its gates."""
    from pipeline.operations.register import run

    project = project_here()
    registered = run(project.workspace, project.home, project.params, say)
    say("next: darkroom models compares the versions")
    if registered.champion:
        say("then: darkroom classify answers what lies in the inbox, by the champion")


@click.command()
@click.argument("version", type=click.IntRange(min=1))
def promote(version: int) -> None:
    """Make VERSION, a number, the champion; it must have passed its gates."""
    from pipeline.operations.promote import promote as run

    project = project_here()
    run(project.home, project.params, version, say)


@click.command()
def rollback() -> None:
    """Make the previous champion champion again."""
    from pipeline.operations.promote import rollback as run

    project = project_here()
    run(project.home, project.params, say)


@click.command()
def models() -> None:
    """Show the registered versions: which serves, what the test images said, what failed."""
    from pipeline.operations.models import run

    project = project_here()
    listed = run(project.home, project.params)
    table = Table(
        "version", "aliases", "registered", "test accuracy", "verdict", "dataset", "digest"
    )
    for row in listed:
        cells = (str(row.number), ", ".join(row.aliases), row.registered, row.accuracy)
        table.add_row(*map(Text, (*cells, row.verdict, row.dataset, row.digest)))
    # Elsewhere than on a terminal a table is as wide as its words
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Open MLflow on this project's runs."""
    from pipeline.tracking.store import connect, tracking_uri

    project = project_here()
    uri = tracking_uri(project.home, os.environ)
    if uri.startswith("http"):
        say("MLflow is a server of its own here: open MLFLOW_TRACKING_URI in a browser")
        return
    connect(project.home, os.environ)
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    server += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    say(f"MLflow on {uri}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    say("the first time, choose Model training at its top left: it opens on language models")
    os.execv(server[0], server)  # noqa: S606, so that ending this ends the server
