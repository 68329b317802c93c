"""Scheduled inference: the champion classifies what is new in the inbox."""

import os
from pathlib import Path
from typing import Any

from prefect import flow, task

from flows.outcome import ONCE_MORE, attempt, log_line, value
from pipeline.operations import classify
from pipeline.operations.classify import Classified
from pipeline.project import Project, open_project


@task(name="classify", task_run_name="classify", **ONCE_MORE)
def classify_inbox(project: Project, inbox: str | None) -> Any:
    return attempt(lambda: classify.run(project.home, project.params, inbox, log_line))


@flow(name="darkroom-inference")
def inference(inbox: str | None = None) -> Any:
    """Return what was classified, or a failed state. *inbox*: a folder for this run only."""
    return attempt(lambda: _classify(inbox))


def _classify(inbox: str | None) -> Classified:
    project = open_project(Path.cwd(), os.environ)
    classified: Classified = value(classify_inbox(project, inbox, return_state=True))
    return classified


if __name__ == "__main__":
    from flows.outcome import main

    main(inference)
