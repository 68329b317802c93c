"""kill -9 while `classify` tells MLflow: the next run leaves one finished run for each batch."""

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from classifies import Moment, run
from desks import NAME, all_is_shown_once, lost_or_repeated, put, shown, store_of
from worlds import World

pytestmark = pytest.mark.timeout(1500)
IMAGES = 3
DEFAULT = ("after create_run:1", "commit:8", "os.rename:2", "after set_terminated:1")
"""Where the default run kills; the full one kills at every moment that there is."""
SWEEPING = ("before delete_run:1", "statement:11", "after delete_run:1")
"""Where the run after it is killed, too: while it takes away what the first one left."""
TIMES = re.compile("latency|images_per_second")


def classify(processes: Any, desk: World, last: Moment = "") -> None:
    """Classify what is new, in a child that is killed at *last*."""
    child = processes.Process(target=run, args=(desk.root, last))
    child.start()
    child.join()
    assert child.exitcode == (-signal.SIGKILL if last else 0), last


def moments_of(processes: Any, desk: World) -> list[Moment]:
    """Classify what is new; return each moment at which the run might have been killed."""
    report = processes.SimpleQueue()
    child = processes.Process(target=run, args=(desk.root, "", report))
    child.start()
    moments: list[Moment] = report.get()
    child.join()
    assert child.exitcode == 0
    return moments


def told(desk: World, folder: str) -> dict[str, Any]:
    """What MLflow holds of the batch that *folder* was."""
    client = store_of(desk)
    experiment = client.get_experiment_by_name(f"{NAME}-inference").experiment_id
    (run,) = client.search_runs([experiment], f"attributes.run_name LIKE '{folder}-%'")
    found = [client.list_artifacts(run.info.run_id, each) for each in ("", "monitoring", "rows")]
    sizes = {file.path: file.file_size for files in found for file in files}
    metrics = run.data.metrics
    return {
        "params": run.data.params,
        "metrics": {name: metrics[name] for name in metrics if not TIMES.match(name)},
        "metrics that tell time": sorted(name for name in metrics if TIMES.match(name)),
        "files": sorted(sizes),
        "rows are whole": bool(sizes["rows/part-00000.parquet"]),
    }


@pytest.fixture
def told_of_one(desk: World, processes: Any, tmp_path: Path) -> World:
    """A desk whose MLflow shows a batch already."""
    world = desk.fork(tmp_path / "project")
    put(world, "whole", IMAGES)
    classify(processes, world)
    return world


def test_a_run_that_is_killed_while_it_tells_mlflow_is_completed_by_the_next(
    told_of_one, processes, full
):
    world = told_of_one
    expected = told(world, "whole")
    assert expected["metrics"]["images"] == IMAGES
    put(world, "watched", IMAGES)
    moments = moments_of(processes, world)
    assert set(DEFAULT) <= set(moments)
    for number, moment in enumerate(moments if full else DEFAULT):
        put(world, f"killed-{number}", IMAGES)
        classify(processes, world, moment)
        classify(processes, world)
        assert lost_or_repeated(world) == {}, moment
        assert all_is_shown_once(world), moment
        assert told(world, f"killed-{number}") == expected, moment


def test_so_is_one_whose_sweeper_is_killed_as_well(told_of_one, processes, full):
    world = told_of_one
    for number, moment in enumerate(SWEEPING if full else SWEEPING[:1]):
        put(world, f"killed-{number}", IMAGES)
        classify(processes, world, "before set_terminated:1")
        assert sorted(Counter(status for _, status in shown(store_of(world)))) == [
            *("FINISHED", "RUNNING")
        ]
        classify(processes, world, moment)
        classify(processes, world)
        assert lost_or_repeated(world) == {}, moment
        assert all_is_shown_once(world), moment


@pytest.mark.parametrize(
    "moment",
    [
        "before create_experiment:1",
        pytest.param("commit:2", marks=pytest.mark.full),
        pytest.param("after create_experiment:1", marks=pytest.mark.full),
    ],
)
def test_so_is_the_very_first_that_makes_the_experiment(desk, processes, tmp_path, moment):
    world = desk.fork(tmp_path / "project")
    for folder in ("monday", "tuesday"):
        put(world, folder, IMAGES)
    classify(processes, world, moment)
    classify(processes, world)
    assert lost_or_repeated(world) == {}
    assert all_is_shown_once(world)
