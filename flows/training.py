"""Scheduled training: take in what is new, bring each stage up to date, publish, register."""

import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.outcome import ONCE_MORE, attempt, log_line, value
from pipeline.errors import Busy
from pipeline.graph import read_stages
from pipeline.operations import ingest, register, verify
from pipeline.operations.dvc_stage import reproduce
from pipeline.operations.register import Registered
from pipeline.project import Project, open_project
from pipeline.tracking.publish import publish


@task(name="ingest", task_run_name="ingest", **ONCE_MORE)
def ingest_source(project: Project) -> Any:
    return attempt(lambda: ingest.run(project.workspace, project.home, project.params, log_line))


@task(name="verify", task_run_name="verify", **ONCE_MORE)
def verify_dataset(project: Project) -> Any:
    """DVC trusts its cache; what is about to be trained on is hashed again."""
    return attempt(lambda: verify.run(project.workspace, project.home, log_line))


@task(name="stage", task_run_name="{stage}", **(ONCE_MORE | {"retries": 3}))
def run_stage(project: Project, stage: str) -> Any:
    """Bring one stage up to date; DVC decides whether it must run."""
    return attempt(lambda: reproduce(project.workspace, stage, log_line))


@task(name="publish", task_run_name="publish", **ONCE_MORE)
def publish_run(project: Project) -> Any:
    return attempt(lambda: publish(project.workspace, project.home, project.params.model_name))


@task(name="register", task_run_name="register", **ONCE_MORE)
def register_model(project: Project) -> Any:
    return attempt(lambda: register.run(project.workspace, project.home, project.params, log_line))


@flow(name="darkroom-training")
def training() -> Any:
    """Return what was registered, or the failed state of the first step that failed."""
    return attempt(_train)


def _train() -> Registered:
    project = open_project(Path.cwd(), os.environ)
    try:
        with FileLock(project.workspace.root / ".dvc/tmp/darkroom-training.lock", timeout=0):
            return _steps(project)
    except Timeout:
        raise Busy(
            "another training flow is at work in this project", mend="wait until it is done"
        ) from None


def _steps(project: Project) -> Registered:
    value(ingest_source(project, return_state=True))
    value(verify_dataset(project, return_state=True))
    for stage in read_stages(project.workspace.dvc_yaml):
        value(run_stage(project, stage.name, return_state=True))
    _show_data(project)
    value(publish_run(project, return_state=True))
    registered: Registered = value(register_model(project, return_state=True))
    return registered


def _show_data(project: Project) -> None:
    """Prefect only shows: whatever keeps it from it, the training goes on."""
    report = project.workspace.data_report
    try:
        counts = (report / "summary.md").read_text(encoding="utf-8")
        page = report / "index.html"
        create_markdown_artifact(
            key="data-report",
            markdown=f"{counts}\n[The data report]({page.as_uri()}): `{page}`\n",
            description="What the dataset looks like",
        )
    except Exception as error:
        log_line(f"the data report is not shown in Prefect: {type(error).__name__}: {error}"[:200])


if __name__ == "__main__":
    from flows.outcome import main

    main(training)
