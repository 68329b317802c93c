"""Every batch of a model as one step of one MLflow run, so that MLflow draws what monitoring says
as lines over batches.

A step is a batch's number, in the order in which batches were first shown; a tag of its own run
keeps it, which outlives the run in MLflow's trash. The time of a point is the batch's own. So a
batch that is shown late has its place by time, and the next number; one that is shown again, after
a kill or a deletion, has the number that it had.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlflow.entities import LoggedModel, Metric, Run

from pipeline.tracking.publish import log_missing, log_points
from pipeline.tracking.store import Store, user

BATCH, STEP = "darkroom.batch", "darkroom.step"
"""Tags of a batch's run."""
_SERIES = "darkroom.series"
"""Tag of the run that has all of them: the model's name."""
_FIRST_STEP = "batches.first_step"
"""Of a version: by it, MLflow shows the series on the version's page."""
_NAME = "all-batches"
_NOTE = (
    "One step for each batch, in the order in which they were published; metric `model_version` "
    "says which version answered. Each batch has a run of its own, tag `darkroom.step`."
)
_BY_REASON = ("refused.", "abstained.")
_LONGEST = 200


@dataclass
class Series:
    client: Store
    run_id: str
    is_whole: bool
    """Whether all batches that had been shown are in it."""
    steps: dict[str, int]
    """By batch."""
    reasons: set[str]
    """Names of the figures that count by reason, of those that ever occurred."""

    def address(self, experiment: str) -> str:
        """Return the page on which MLflow draws it, for a link there."""
        return f"#/experiments/{experiment}/runs/{self.run_id}/model-metrics"

    def step_of(self, batch: str) -> int:
        """Return the batch's number; a new one's is the next."""
        return self.steps.setdefault(batch, max(self.steps.values(), default=0) + 1)

    def add(self, batch: str, figures: Mapping[str, float], at: int, *, is_new: bool) -> None:
        """Log what came of a batch; *at*: in milliseconds since 1970. *is_new*: there is nothing
        yet of its step."""
        points = self._points(batch, self._counted(figures), at)
        (log_points if is_new else log_missing)(self.client, self.run_id, points)

    def amend(self, batch: str, figures: Mapping[str, float], at: int) -> None:
        """Log what was found out of a batch later."""
        log_missing(self.client, self.run_id, self._points(batch, figures, at))

    def catch_up(self, shown: Mapping[str, Run]) -> None:
        """Add the batches with a finished run that are not in it: an older Darkroom's, or all,
        where the series was deleted."""
        ordered = sorted(shown, key=lambda batch: (shown[batch].info.end_time, batch))
        lacking = [batch for batch in ordered if not self.is_whole or batch not in self.steps]
        if not lacking and self.is_whole:
            return
        self.client.update_run(self.run_id, status="RUNNING")  # until it is whole
        points: list[Metric] = []
        for batch in lacking:
            run = shown[batch]
            if STEP not in run.data.tags:
                self.client.set_tag(run.info.run_id, STEP, str(self.step_of(batch)))
            metrics = run.data.metrics.items()
            figures = {name: value for name, value in metrics if not name.startswith("class.")}
            figures["model_version"] = float(run.data.params["model_version"])
            points += self._points(batch, self._counted(figures), run.info.end_time)
        log_missing(self.client, self.run_id, points)
        self.client.set_terminated(self.run_id, "FINISHED")
        self.is_whole = True

    def link(self, model: LoggedModel, batch: str, at: int) -> None:
        """Show the series on the page of a version, from its first batch on: MLflow lists there
        the runs with a metric of its model. (Each batch's run, and its page would never load.)"""
        held = {(each.key, each.run_id) for each in model.metrics or ()}
        if (_FIRST_STEP, self.run_id) not in held:
            step, of = self.step_of(batch), {"model_id": model.model_id, "run_id": self.run_id}
            log_points(self.client, self.run_id, [Metric(_FIRST_STEP, step, at, step, **of)])

    def _counted(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Add the zeros: without them, a line would be drawn past a batch that has no such file."""
        self.reasons |= {name for name in figures if name.startswith(_BY_REASON)}
        return dict.fromkeys(sorted(self.reasons), 0.0) | dict(figures)

    def _points(self, batch: str, figures: Mapping[str, float], at: int) -> list[Metric]:
        step = self.step_of(batch)
        return [Metric(metric_name(name), value, at, step) for name, value in figures.items()]


def open_series(client: Store, experiment: str, model_name: str, runs: Iterable[Run]) -> Series:
    """Return the series of *model_name* among the *runs* of its experiment, oldest first; made
    where there is none."""
    steps: dict[str, int] = {}
    found: Run | None = None
    for run in runs:
        tags = run.data.tags
        if BATCH in tags and STEP in tags:
            steps.setdefault(tags[BATCH], int(tags[STEP]))
        if tags.get(_SERIES) == model_name and run.info.lifecycle_stage == "active":
            found = found or run
    if found is None:
        tags = {_SERIES: model_name, "mlflow.note.content": _NOTE, "mlflow.user": user()}
        found = client.create_run(experiment, run_name=_NAME, tags=tags)
    is_whole = found.info.status == "FINISHED"
    reasons = {name for name in found.data.metrics if name.startswith(_BY_REASON)}
    return Series(client, found.info.run_id, is_whole, steps, reasons)


def metric_name(name: str) -> str:
    """Return *name* without the signs that MLflow's metrics do not have in theirs, and no longer
    than it takes."""
    plain = re.sub(r"[^\w.\- ]", "_", name)
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
