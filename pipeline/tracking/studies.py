"""A study of hyperparameters in MLflow: one run, and a child run for each trial."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.errors import DarkroomError
from pipeline.tracking.record import epoch_metrics
from pipeline.tracking.store import FAULTS, Store, connect, experiment_id, reaching, user
from pipeline.training.loop import Epoch
from pipeline.workspace import Home

STUDY_KEY = "darkroom.study"
_STATUS = {"whole": "FINISHED", "cut short": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


@dataclass
class ShownStudy:
    """Goes silent at the first failure of the store, for good."""

    client: Store | None
    experiment: str
    run_id: str
    name: str
    say: Callable[[str], None]

    @contextmanager
    def trial(self, number: int, values: Mapping[str, Any]) -> Iterator["ShownTrial"]:
        """Show one trial; its outcome is what the block leaves in `outcome`."""
        tags = _tags() | {MLFLOW_PARENT_RUN_ID: self.run_id}
        name = f"{self.name}-{number}"
        made = self.tell(
            lambda client: client.create_run(self.experiment, run_name=name, tags=tags)
        )
        trial = ShownTrial(self, made.info.run_id if made else "")
        params = [Param(f"train.{key}", str(value)) for key, value in values.items()]
        self.tell(lambda client: client.log_batch(trial.run_id, params=params))
        try:
            yield trial
        finally:
            outcome = trial.outcome
            self.tell(lambda c: c.set_tag(trial.run_id, "darkroom.trial", outcome))
            self.tell(lambda c: c.set_terminated(trial.run_id, _STATUS[outcome]))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Say of a study that ends before its time that it failed, or was stopped."""
        try:
            yield
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            self.tell(lambda client: client.set_terminated(self.run_id, status))
            raise

    def end(self, best: Mapping[str, Any]) -> None:
        tags = [RunTag(f"best.{key}", str(value)) for key, value in best.items()]
        self.tell(lambda client: client.log_batch(self.run_id, tags=tags))
        self.tell(lambda client: client.set_terminated(self.run_id, "FINISHED"))

    def tell(self, what: Callable[[Store], Any]) -> Any:
        if self.client is None:
            return None
        try:
            return what(self.client)
        except FAULTS as error:
            self.client = None
            self.say(f"MLflow is lost ({type(error).__name__}); the study goes on without it")
            return None


@dataclass
class ShownTrial:
    study: ShownStudy
    run_id: str
    outcome: str = "killed"
    """`whole`, `cut short`, `failed`, or `killed`."""

    def epoch(self, epoch: Epoch) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(k, v, now, step) for k, step, v in epoch_metrics(asdict(epoch))]
        self.study.tell(lambda client: client.log_batch(self.run_id, metrics=metrics))


def open_study(
    home: Home,
    experiment: str,
    key: str,
    facts: Mapping[str, str],
    dataset: str,
    say: Callable[[str], None],
) -> ShownStudy:
    """Find or make the run of the study *key*; where no store answers, one that shows nothing."""
    name = f"tune-{key[:8]}"
    try:
        client = connect(home, os.environ, brief=True)
        with reaching(home, os.environ):
            place = experiment_id(client, home, experiment)
            found = client.search_runs([place], f"tags.`{STUDY_KEY}` = '{key}'", max_results=1)
            if found:
                run_id = found[0].info.run_id
                _end_killed(client, place, run_id)
                client.update_run(run_id, status="RUNNING")
            else:
                tags = _tags() | {STUDY_KEY: key, "darkroom.dataset": dataset}
                run_id = client.create_run(place, run_name=name, tags=tags).info.run_id
                client.log_batch(run_id, params=[Param(k, v) for k, v in facts.items()])
    except DarkroomError as error:
        say(f"not shown in MLflow: {error.what}; the study goes on without it")
        return ShownStudy(None, "", "", name, say)
    return ShownStudy(client, place, run_id, name, say)


def _end_killed(client: Store, experiment: str, run_id: str) -> None:
    """A trial of a process that was killed had no time to say so."""
    of_study = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}' AND attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment], of_study, max_results=1000):
        client.set_terminated(run.info.run_id, "KILLED")


def _tags() -> dict[str, str]:
    return {
        "mlflow.user": user(),
        "mlflow.source.name": "darkroom tune",
        "mlflow.source.type": "LOCAL",
    }
