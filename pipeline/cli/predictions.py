"""The verb that looks at what has been predicted."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.here import project_here, say
from pipeline.words import counted

if TYPE_CHECKING:
    from pipeline.inference.queries import Count
    from pipeline.inference.rows import PredictionRow

_WIDE = 300
_TABLES = ("version", "day", "class")
_SHOWN = 20
_OUTCOMES = ("answered", "abstained", "refused")


@click.command()
@click.option("--by", type=click.Choice(sorted(_TABLES)), help="This table alone, to its end.")
@click.option(
    "--least-confident", "most", type=click.IntRange(min=1), metavar="N", help="List N rows."
)
@click.option(
    "--refused", "without", type=click.IntRange(min=1), metavar="N", help="List N refused files."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write rows: FILE.csv, .jsonl or .parquet."
)
@click.option("--class", "label", metavar="NAME", help="Rows with this label.")
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="Rows of this version.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Such as 2026-03-01, UTC."
)
@click.option("--latest", is_flag=True, help="Of each file the last row alone.")
def predictions(
    by: str | None,
    most: int | None,
    without: int | None,
    output: Path | None,
    label: str | None,
    version: int | None,
    since: datetime | None,
    latest: bool,
) -> None:
    """Show what has been predicted: how much, by version, day and class; or rows of it."""
    from pipeline.inference.queries import Selection
    from pipeline.operations.predictions import count, export, least_confident, refused

    if by and (most or without or output):
        raise click.UsageError("--by is about tables; the others, about rows")
    if without and (most or output):
        raise click.UsageError("--refused lists files without a label, alone")
    project = project_here()
    home, params = project.home, project.params
    which = Selection(label, version, since.date() if since else None, latest)
    if output:
        say(f"{counted(export(home, params, which, most, output), 'row')}: {output}")
    elif most:
        rows = least_confident(home, params, which, most)
        _print([_listing(rows)] if rows else [])
        if not rows:
            say(f"{params.model_name}: no prediction of these has a label")
    elif without:
        rows = refused(home, params, which, without)
        _print([_refusals(rows)] if rows else [])
        if not rows:
            say(f"{params.model_name}: none of these was refused")
    else:
        counts = count(home, params, which)
        say(_total(params.model_name, counts["version"]))
        names = (by,) if by else (*_TABLES, "reason")
        _print([_counted(name, counts[name], whole=bool(by)) for name in names if counts[name]])


def _total(model: str, versions: Sequence["Count"]) -> str:
    sums = [sum(getattr(row, outcome) for row in versions) for outcome in _OUTCOMES]
    parts = [f"{number} {outcome}" for number, outcome in zip(sums, _OUTCOMES, strict=True)]
    return f"{model}: {counted(sum(sums), 'row')}: {', '.join(parts)}"


def _counted(name: str, rows: Sequence["Count"], *, whole: bool) -> Table:
    possible = {"class": _OUTCOMES[:2], "reason": _OUTCOMES[1:]}.get(name, _OUTCOMES)
    table = Table("day (UTC)" if name == "day" else name)
    for outcome in possible:
        table.add_column(outcome, justify="right")
    shown = rows if whole or name == "reason" else rows[:_SHOWN]
    for row in shown:
        table.add_row(_text(row.key), *(str(getattr(row, outcome)) for outcome in possible))
    if len(shown) < len(rows):
        table.caption = f"and {len(rows) - len(shown)} more: --by {name}"
    return table


def _listing(rows: Iterable["PredictionRow"]) -> Table:
    table = Table("confidence", "label", "abstained", "version")
    table.add_column("path", overflow="fold")
    for row in rows:
        cells = (row.label or "", row.abstain_reason or "", str(row.model_version), row.path)
        table.add_row(f"{row.confidence:.4f}", *map(_text, cells))
    return table


def _refusals(rows: Iterable["PredictionRow"]) -> Table:
    table = Table("reason", "detail")
    table.add_column("path", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, (row.reason or "", row.detail or "", row.path)))
    return table


def _text(value: str) -> Text:
    """Markup in names is none, and nothing of them reaches the terminal that does not print."""
    return Text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in value))


def _print(tables: Iterable[Table]) -> None:
    # Elsewhere than on a terminal a table is as wide as its words
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    for table in tables:
        console.print(table)
