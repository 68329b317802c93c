"""Verbs about new images."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pipeline.cli.here import project_here, say
from pipeline.errors import SourceError
from pipeline.inference.rows import PredictionRow
from pipeline.words import counted

_NEXT = "next: darkroom predictions shows them; darkroom review page lets a person check them"


@click.command()
@click.option("--inbox", help="Folder of new images, for this run only.")
@click.option("--reclassify", is_flag=True, help="Also what an earlier version has answered.")
def classify(inbox: str | None, reclassify: bool) -> None:
    """Classify what is new in the inbox by the champion."""
    from pipeline.operations.classify import run

    project = project_here()
    classified = run(project.home, project.params, inbox, say, reclassify=reclassify)
    if classified.batches:
        say(_NEXT)
    if classified.failure:
        raise classified.failure


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--model", default="champion", show_default=True, help="Folder, version number or alias."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--output", type=click.Path(path_type=Path), help="FILE.parquet, .csv or .jsonl.")
def predict(paths: tuple[str, ...], model: str, as_json: bool, output: Path | None) -> None:
    """Classify files, folders, patterns, or with - the files that standard input lists."""
    from pipeline.inference.finding import find_files
    from pipeline.inference.outputs import HEADER, json_line, legend, table_line, write_rows
    from pipeline.operations.predict import run

    project = project_here()
    rows = run(project.home, project.params, model, find_files(paths, sys.stdin))
    counts = {"images": 0, "refused": 0}
    abstained: set[str] = set()
    for row in _counted(rows if output is None else write_rows(output, rows), counts):
        if output is None and not as_json:
            if counts["images"] == 1:
                say(HEADER)
            abstained |= {row.abstain_reason} if row.abstain_reason else set()
        if output is None:
            say(json_line(row) if as_json else table_line(row))
    for line in legend(abstained):
        say(line)
    if output is not None and counts["images"]:
        images = counted(counts["images"], "image")
        say(f"{images}, {counts['refused']} refused: {output}")
    if not counts["images"]:
        raise SourceError("there is no file to classify", mend="name files, or folders with some")
    if counts["images"] == counts["refused"]:
        sys.exit(1)


def _counted(rows: Iterator[PredictionRow], counts: dict[str, int]) -> Iterator[PredictionRow]:
    for row in rows:
        counts["images"] += 1
        counts["refused"] += row.reason is not None
        yield row
