"""A training shown while it runs, for as long as the store answers."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from filelock import FileLock
from mlflow.entities import Metric

from pipeline.errors import DarkroomError, TrainingStopped
from pipeline.tracking.machine import MACHINE, facts
from pipeline.tracking.publish import complete, find_or_create_run, log_metrics
from pipeline.tracking.record import epoch_metrics, starting_record
from pipeline.tracking.store import FAULTS, Store, connect, reaching
from pipeline.tracking.system import usage
from pipeline.training.loop import Epoch
from pipeline.workspace import Home, Workspace


@dataclass
class LiveRun:
    """Writes each epoch as it comes; goes silent at the first failure, for good."""

    client: Store | None
    run_id: str
    say: Callable[[str], None]

    def epoch(self, epoch: Epoch, images_per_second: float) -> None:
        if self.client is None:
            return
        now = int(time.time() * 1000)
        pace = {"timing.images_per_second": images_per_second} if images_per_second else {}
        beside = pace | usage()
        figures = [Metric(name, value, now, epoch.epoch) for name, value in beside.items()]
        try:
            log_metrics(self.client, self.run_id, tuple(epoch_metrics(asdict(epoch))))
            self.client.log_batch(self.run_id, metrics=figures)
        except FAULTS as error:
            self.client = None
            self.say(f"MLflow is lost ({type(error).__name__}); later: darkroom publish")

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Say of a training that ends before its time that it failed, or was stopped."""
        try:
            yield
        except BaseException as error:
            if self.client is not None:
                stopped = isinstance(error, TrainingStopped) or not isinstance(error, Exception)
                status = "KILLED" if stopped else "FAILED"
                with suppress(*FAULTS):
                    self.client.set_terminated(self.run_id, status)
            raise


def open_live_run(
    workspace: Workspace,
    home: Home,
    experiment: str,
    card: Mapping[str, Any],
    origin: Mapping[str, Any],
    say: Callable[[str], None],
) -> LiveRun:
    """Find or make the run of this training; where no store answers, one that writes nothing.

    *card* and *origin* are what will be models/trained's and reports/training's cards.
    """
    try:
        client = connect(home, os.environ, brief=True)
        with reaching(home, os.environ), FileLock(home.private / "publish.lock", timeout=4):
            record = starting_record(workspace, card, origin)
            run = find_or_create_run(client, home, experiment, record)
            complete(client, run, record)
            about = json.dumps(facts(origin["device"]), sort_keys=True)
            client.set_tag(run.info.run_id, MACHINE, about)
            if run.info.status != "FINISHED":
                client.update_run(run.info.run_id, status="RUNNING")  # it goes on
    except DarkroomError as error:
        say(f"not shown in MLflow: {error.what}; later: darkroom publish")
        return LiveRun(None, "", say)
    return LiveRun(client, run.info.run_id, say)
