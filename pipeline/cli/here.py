"""Where a verb was called, and where it prints."""

import os
from pathlib import Path

import click

from pipeline.project import Project, open_project


def project_here() -> Project:
    return open_project(Path.cwd(), os.environ)


def say(line: str) -> None:
    click.echo(line)
