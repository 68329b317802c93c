"""Scheduled inference: the champion classifies what is new in the inbox."""

import os
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from flows.outcome import ONCE_MORE, attempt, log_line, value
from pipeline.operations import classify
from pipeline.operations.classify import Classified
from pipeline.operations.glance import glance
from pipeline.project import Project, open_project


@task(name="classify", task_run_name="classify", **ONCE_MORE)
def classify_inbox(project: Project, inbox: str | None) -> Any:
    return attempt(lambda: _classify(project, inbox))


@flow(name="darkroom-inference")
def inference(inbox: str | None = None) -> Any:
    """Return what was classified, or a failed state. *inbox*: a folder for this run only."""
    return attempt(
        lambda: value(
            classify_inbox(open_project(Path.cwd(), os.environ), inbox, return_state=True)
        )
    )


def _classify(project: Project, inbox: str | None) -> Classified:
    """What was published is shown, whatever failed then: nobody would show it later."""
    classified = classify.run(project.home, project.params, inbox, log_line)
    if classified.batches:
        _show(classified)
    if classified.failure:
        raise classified.failure
    return classified


def _show(classified: Classified) -> None:
    """At a glance in Prefect, and an event for each batch that has drifted: automations act on it.
    What cannot be shown there lies beside the rows."""
    name, version = classified.model_name, classified.model_version
    try:
        create_markdown_artifact(
            key="batches",
            markdown=glance(name, version, classified.batches),
            description="What was classified",
        )
        for batch in classified.drifted:
            emit_event(
                event="darkroom.drift.detected",
                resource={"prefect.resource.id": f"darkroom.model.{name}"},
                payload={"batch": str(batch.folder), "version": version}
                | batch.monitoring.as_json(),
            )
    except Exception as error:
        log_line(f"batches are not shown in Prefect: {type(error).__name__}: {error}"[:200])


if __name__ == "__main__":
    from flows.outcome import main

    main(inference)
