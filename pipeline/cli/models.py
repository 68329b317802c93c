"""Verbs about runs and models in MLflow."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.here import project_here, say

if TYPE_CHECKING:
    from pipeline.operations.models import Listed

_WIDE = 300
_ROOMY, _MIDDLING = 140, 100
"""Characters a line for all columns, and for all but the dataset's and the digest's."""


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


def _number(context: click.Context, parameter: click.Parameter, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise click.BadParameter(
            f"{value!r} is no version's number, such as 1; darkroom models shows them"
        )
    return int(value)


@click.command()
@click.argument("version", callback=_number)
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
    # Elsewhere than on a terminal a table is as wide as its words
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    console.print(_table(listed, console.width))


def _table(listed: "list[Listed]", width: int) -> Table:
    """Return the versions; where *width* is little, what a person needs least is left out."""
    between, before_interval = (", ", " (") if width >= _ROOMY else ("\n", "\n(")
    columns: dict[str, Callable[[Listed], str]] = {
        "version": lambda row: str(row.number),
        "aliases": lambda row: between.join(row.aliases),
        "registered": lambda row: row.registered,
        "test accuracy": lambda row: row.accuracy.replace(" (", before_interval),
        "verdict": lambda row: row.verdict,
        "dataset": lambda row: row.dataset,
        "digest": lambda row: row.digest,
    }
    left_out = {"dataset", "digest"} if width < _ROOMY else set()
    left_out |= {"registered"} if width < _MIDDLING else set()
    shown = {name: cell for name, cell in columns.items() if name not in left_out}
    table = Table()
    for name in shown:
        table.add_column(name, overflow="fold", no_wrap=name != "verdict")
    for row in listed:
        table.add_row(*(Text(cell(row)) for cell in shown.values()))
    return table


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
