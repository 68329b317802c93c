"""A training while it runs: its curves, its pace, and what it takes of the machine."""

import pytest
from trainings import EPOCH

from pipeline.errors import TrainingError, TrainingStopped
from pipeline.tracking.live import LiveRun
from pipeline.tracking.store import Store, experiment_id
from pipeline.workspace import Home


def test_an_epoch_shows_its_figures_and_the_machines(client: Store, home: Home, name: str):
    run_id = client.create_run(experiment_id(client, home, name)).info.run_id
    LiveRun(client, run_id, print).epoch(EPOCH, 123.0)
    shown = client.get_run(run_id).data.metrics
    assert shown["validation_accuracy"] == 0.875
    assert shown["timing.images_per_second"] == 123
    assert 0 <= shown["system/cpu_utilization_percentage"] <= 100
    assert 0 < shown["system/system_memory_usage_percentage"] <= 100
    assert shown["system/process_memory_megabytes"] > 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingStopped("it was told to", mend="go on"), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
        (TrainingError("the loss is no number", mend="lower the rate"), "FAILED"),
    ],
)
def test_stopped_and_failed_are_two_things(client: Store, home: Home, name: str, error, status):
    run_id = client.create_run(experiment_id(client, home, name)).info.run_id
    with pytest.raises(type(error)), LiveRun(client, run_id, print).ending():
        raise error
    assert client.get_run(run_id).info.status == status
