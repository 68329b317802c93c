"""A team's own registered model as what its next one starts from, through the real tools."""

import pytest
from worlds import World

from pipeline.cards import read_card
from pipeline.params import load_params
from pipeline.tracking.store import connect


@pytest.fixture
def world(demo: World, tmp_path) -> World:
    made = demo.fork(tmp_path / "project")
    made.set(**{"train.epochs": 1, "train.freeze": "backbone"})
    return made


@pytest.mark.full
def test_the_next_training_starts_from_a_registered_model_and_says_so_in_mlflow(world):
    told = world.run("darkroom", "weights", "use", "models:/source@champion").stdout
    assert "params.yaml: train.weights: none -> .darkroom/weights/" in told
    train = load_params(world.workspace.params).train
    exported = read_card(world.workspace.export_report / "card.json")
    assert train.weights_sha256 == exported["weights_sha256"], "the champion is what was exported"
    done = world.run("dvc", "repro")
    assert f"starting from {train.weights}" in done.stdout
    start = read_card(world.workspace.training_report / "card.json")["start"]
    assert start == {"weights": train.weights, "sha256": train.weights_sha256}
    world.run("darkroom", "register")
    client = connect(world.home, {})
    version = client.get_model_version("source", "2")
    assert client.get_run(version.run_id).data.params["start.sha256"] == train.weights_sha256
    assert version.tags["darkroom.weights_sha256"] != train.weights_sha256


@pytest.mark.full
def test_a_stage_whose_file_is_gone_names_the_verb_that_brings_it_back(world):
    world.run("darkroom", "weights", "use", "models:/source/1")
    world.home.resolve(load_params(world.workspace.params).train.weights).unlink()
    failed = world.run("dvc", "repro", "train", ok=False)
    assert failed.returncode != 0
    assert "mend: darkroom weights use models:/NAME/VERSION" in failed.stderr
