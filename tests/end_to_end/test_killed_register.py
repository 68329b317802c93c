"""kill -9 between any two steps of `register`: who serves has passed, and a repeat completes."""

from pathlib import Path
from typing import Any

import pytest
from killed_registers import KILLED, register_and_die
from mlflow import MlflowClient
from registrations import MEDIOCRE, RIGHT, Project, make_project

from pipeline.workspace import Home

_KILLS = 20


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def with_champion(root: Path, home: Home, name: str) -> Project:
    """A mediocre champion, and a better model at hand that nobody registered yet."""
    project = make_project(root, home, name)
    project.make(MEDIOCRE, seed=0)
    project.register()
    project.make(RIGHT, seed=1)
    return project


def test_a_register_that_is_killed_between_two_steps_is_completed_by_a_repeat(
    home, processes, tmp_path, full, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    report = processes.SimpleQueue()
    whole = with_champion(tmp_path / "whole", home, "whole")
    child = processes.Process(target=register_and_die, args=(whole, -1, report))
    child.start()
    child.join()
    assert child.exitcode == 0
    writes = report.get()
    wanted = state_of(home, "whole")
    assert wanted["aliases"] == {"challenger": 2, "champion": 2} and wanted["models"] == 2

    made = writes.index("create_model_version")
    every = list(range(len(writes)))
    kills = (every * _KILLS)[: max(_KILLS, len(every))] if full else [made, made + 1, every[-2]]
    for number, last in enumerate(kills):
        name = f"killed-{number}"
        project = with_champion(tmp_path / name, home, name)
        child = processes.Process(target=register_and_die, args=(project, last))
        child.start()
        child.join()
        assert child.exitcode == KILLED, f"before write {last}, {writes[last]}"
        killed = state_of(home, name)
        assert killed["serves"] == "true", f"before {writes[last]}"
        assert killed["aliases"]["champion"] in (1, 2)
        again = project.register()
        assert (again.number, again.champion) == (2, 2), f"killed before {writes[last]}"
        assert state_of(home, name) == wanted, f"killed before {writes[last]}"


def state_of(home: Home, name: str) -> dict[str, Any]:
    """What is left in the registry: whom the champion is, and nothing twice."""
    uri = f"sqlite:///{home.mlflow_database}"
    client = MlflowClient(uri, uri)
    versions = client.search_model_versions(f"name = '{name}'")
    model = client.get_registered_model(name)
    experiment = client.get_experiment_by_name(name).experiment_id
    champion = client.get_model_version_by_alias(name, "champion")
    run = client.get_run(max(versions, key=lambda v: int(v.version)).run_id)
    shown = client.get_metric_history(run.info.run_id, "test.accuracy")
    return {
        "serves": champion.tags["darkroom.promoted"],
        "versions": sorted(int(version.version) for version in versions),
        "uses": sorted(version.tags["test_use"] for version in versions),
        "aliases": {alias: int(number) for alias, number in model.aliases.items()},
        "champions": model.tags.get("darkroom.champions"),
        "models": len(client.search_logged_models([experiment])),
        "runs": len(client.search_runs([experiment])),
        "accuracies": [metric.value for metric in shown],
    }
