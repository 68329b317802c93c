"""Versions and aliases in a real registry: what is registered, and who serves."""

import json

import mlflow
import pytest
from brightness import png, seal_brightness
from versions import register_brightness

from pipeline.errors import RegistryError
from pipeline.tracking import registry
from pipeline.tracking.registry import CHAMPION, Version
from pipeline.tracking.store import Store, experiment_id


def version(client: Store, name: str) -> Version:
    """Register a version of *name* without any artefact: enough for aliases."""
    if not registry.versions(client, name):
        client.create_registered_model(name)
    client.create_model_version(name, source="file:///nowhere", run_id=None)
    return registry.versions(client, name)[-1]


# What is registered


def test_a_registered_version_keeps_its_tags_and_figures(client, home, name):
    registered = register_brightness(client, home, name)
    (found,) = registry.versions(client, name)
    assert found == registered
    assert found.tags["test_use"] == "1"
    held = client.get_model_version(name, "1")
    assert held.description == "# A card"
    assert client.get_run(held.run_id).data.metrics == {"test.accuracy": 0.75}
    model = client.get_logged_model(held.source.removeprefix("models:/"))
    assert {each.key: each.value for each in model.metrics} == {"test.accuracy": 0.75}
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": name, "version": "1"}]
    assert registry.aliases(client, name) == {}, "no alias points to it before it is settled"


def test_figures_are_shown_once(client, home, name):
    registered = register_brightness(client, home, name)
    registry.show_figures(client, registered, {"test.accuracy": 0.75})
    run_id = client.get_model_version(name, "1").run_id
    assert len(client.get_metric_history(run_id, "test.accuracy")) == 1


def test_the_input_example_is_an_image_that_the_model_answers(client, home, name):
    model = mlflow.pyfunc.load_model(register_brightness(client, home, name).uri)
    assert model.predict(model.input_example)["label"].tolist() == ["light"]


def test_what_became_no_version_is_swept_and_a_version_stays(client, home, name, tmp_path):
    registered = register_brightness(client, home, name)
    seal_brightness(tmp_path / "serving")
    run_id = client.get_model_version(name, "1").run_id
    place = experiment_id(client, home, name)
    registry.upload(client, place, run_id, name, tmp_path / "serving", png(200))
    assert len(client.search_logged_models([place])) == 2
    registry.sweep(client, place, run_id, name)
    (kept,) = client.search_logged_models([place])
    assert registered == registry.versions(client, name)[0]
    assert client.get_model_version(name, "1").source == f"models:/{kept.model_id}"


# Who serves


def test_a_name_that_nobody_registered_has_no_champion(client, name):
    assert registry.versions(client, name) == []
    assert registry.by_alias(client, name, CHAMPION) is None
    with pytest.raises(RegistryError, match=f"{name} has no champion") as caught:
        registry.champion(client, name)
    assert "darkroom" in caught.value.mend


def test_versions_are_in_the_order_of_their_numbers(client, name):
    for _ in range(11):
        version(client, name)
    assert [v.number for v in registry.versions(client, name)] == list(range(1, 12))
