"""`darkroom convert` and `darkroom weights use`: tensors come in, and nothing else does."""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from worlds import ROOT, World

from pipeline.errors import ArtefactError, ParamsError, ProjectError, RegistryError
from pipeline.operations.weights import convert, use
from pipeline.params import load_params
from pipeline.tracking import registry
from pipeline.tracking.publish import ARTEFACTS
from pipeline.tracking.record import WEIGHTS
from pipeline.tracking.store import connect
from pipeline.training.models import Architecture, build

# convert


def saved(path: Path, document: Any, **options: Any) -> Path:
    torch.save(document, path, **options)
    return path


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_state_dict_becomes_the_same_tensors(tmp_path, state, nest, zipped):
    document = {nest: state, "epoch": 3} if nest else state
    source = saved(tmp_path / "a.pth", document, _use_new_zipfile_serialization=zipped)
    done = convert(source, tmp_path / "new/a.safetensors")
    found = load_file(done.path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert done.tensors == len(state)
    assert done.sha256 == hashlib.sha256(done.path.read_bytes()).hexdigest()
    assert [p.name for p in done.path.parent.iterdir()] == ["a.safetensors"]


def test_tensors_that_share_their_memory_are_both_there(tmp_path):
    whole = torch.arange(6.0).view(2, 3)
    source = saved(tmp_path / "a.pth", {"a": whole, "same": whole, "turned": whole.T})
    found = load_file(convert(source, tmp_path / "a.safetensors").path)
    assert torch.equal(found["a"], found["same"])
    assert torch.equal(found["turned"], whole.T)


class Trap:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_pickle_that_would_run_something_never_does(tmp_path, how):
    source, trace = tmp_path / "a.pth", tmp_path / "trace"
    if how == "pickle":
        source.write_bytes(pickle.dumps(Trap(trace)))
    else:
        saved(source, {"a": Trap(trace)}, _use_new_zipfile_serialization=how == "zip")
    pickle.loads(pickle.dumps(Trap(trace)))
    assert trace.exists(), "the trap works"
    trace.unlink()
    with pytest.raises(ParamsError, match=r"a\.pth is no state dict") as caught:
        convert(source, tmp_path / "a.safetensors")
    assert "weights_only" not in str(caught.value), "no advice to load it all the same"
    assert not trace.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        pytest.param(nn.Linear(2, 3), "torch.nn.modules.linear.Linear", id="a whole module"),
        pytest.param(torch.zeros(3), "Tensor", id="a tensor"),
        pytest.param([torch.zeros(3)], "list", id="a list"),
        pytest.param({}, "dict", id="nothing"),
        pytest.param({"a": torch.zeros(3), "epoch": 3}, "'epoch' is a int", id="a number within"),
        pytest.param({1: torch.zeros(3)}, "1 is a tensor", id="a name that is none"),
        pytest.param({"a": torch.zeros(3).to_sparse()}, "sparse", id="a sparse tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused_by_what_it_is(tmp_path, document, named):
    with pytest.raises(ParamsError) as caught:
        convert(saved(tmp_path / "a.pth", document), tmp_path / "a.safetensors")
    assert named in str(caught.value)
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_refused_wherever_it_was_cut(tmp_path, state, zipped):
    whole = saved(tmp_path / "a.pth", state, _use_new_zipfile_serialization=zipped).read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "a.pth").write_bytes(whole[:end])
        with pytest.raises(ParamsError, match="is no state dict"):
            convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


def test_a_missing_file_and_a_name_that_training_would_not_take_are_named(tmp_path, state):
    with pytest.raises(ProjectError, match=r"no file .*a\.pth"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    with pytest.raises(ParamsError, match=r"must end in \.safetensors"):
        convert(saved(tmp_path / "a.pth", state), tmp_path / "a.bin")


def test_the_verb_prints_what_was_written(tmp_path, state):
    world = World(tmp_path)  # no project is needed
    saved(tmp_path / "a.pth", state)
    env = {"PYTHONPATH": str(ROOT)}
    done = world.run("darkroom", "convert", "a.pth", env=env)
    sha256 = hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    assert done.stdout == f"a.safetensors: {len(state)} tensors, SHA-256 {sha256}\n"
    failed = world.run("darkroom", "convert", "b.pth", ok=False, env=env)
    assert failed.returncode == 1
    assert failed.stderr.startswith("darkroom: there is no file b.pth")


# weights use


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project in whose registry m@champion is version 1, a small_cnn; do not change it."""
    root = tmp_path_factory.mktemp("registered")
    shutil.copy(ROOT / "params.yaml", root)
    world = World(root)
    client = connect(world.home, {})
    artefacts = root / "mlruns/artifacts/m"
    experiment = client.create_experiment("m", artifact_location=artefacts.as_uri())
    run_id = client.create_run(experiment).info.run_id
    training = root / "training"
    training.mkdir()
    save_file(build(Architecture("small_cnn", 16), 3).state_dict(), training / "model.safetensors")
    (training / "card.json").write_text('{"architecture": "small_cnn"}')
    client.log_artifacts(run_id, str(training), "training")
    sha256 = hashlib.sha256((training / "model.safetensors").read_bytes()).hexdigest()
    client.create_registered_model("m")
    for tags in ({WEIGHTS: sha256}, {}):
        client.create_model_version("m", source=artefacts.as_uri(), run_id=run_id, tags=tags)
    client.set_registered_model_alias("m", registry.CHAMPION, "1")
    return world


@pytest.fixture
def world(registered: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return registered.fork(tmp_path / "project")


def using(world: World, uri: str) -> list[str]:
    told: list[str] = []
    use(world.workspace, world.home, load_params(world.workspace.params), uri, told.append)
    return told


@pytest.mark.parametrize("uri", ["models:/m/1", "models:/m@champion", "models:/m/champion"])
def test_a_registered_models_weights_become_what_training_starts_from(world, uri):
    before = world.workspace.params.read_text()
    told = using(world, uri)
    train = load_params(world.workspace.params).train
    file = world.home.resolve(train.weights)
    assert file == world.home.private / f"weights/{train.weights_sha256}.safetensors"
    assert file.read_bytes() == (world.root / "training/model.safetensors").read_bytes()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == train.weights_sha256
    assert train.model == "small_cnn", "auto may be another one on other images"
    after = world.workspace.params.read_text()
    assert [line.partition("#")[2] for line in after.splitlines()] == [
        line.partition("#")[2] for line in before.splitlines()
    ]
    assert told[0].startswith("models:/m/1: a small_cnn")
    assert "params.yaml: train.model: auto -> small_cnn" in told
    assert using(world, uri) == told[:1], "twice changes nothing"
    assert world.workspace.params.read_text() == after
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_weights_that_are_not_those_on_record_change_nothing(world):
    (stored,) = (world.root / "mlruns").rglob("model.safetensors")
    stored.write_bytes(stored.read_bytes() + b"\0")
    before = world.workspace.params.read_bytes()
    with pytest.raises(ArtefactError, match="m version 1 are not those on record"):
        using(world, "models:/m/1")
    assert world.workspace.params.read_bytes() == before
    assert not list((world.home.private / "weights").iterdir())


def test_a_version_whose_run_has_lost_its_weights_is_refused(world):
    shutil.rmtree(world.root / "mlruns/artifacts")
    with pytest.raises(RegistryError, match="m version 1 has no torch weights on record"):
        using(world, "models:/m/1")


def test_a_version_of_an_older_darkroom_is_held_against_what_its_run_recorded(world):
    """Its tags lack the hash; the run has the first digits of every artefact's."""
    client = connect(world.home, {})
    run_id = client.get_model_version("m", "2").run_id
    sha256 = hashlib.sha256((world.root / "training/model.safetensors").read_bytes()).hexdigest()
    recorded = json.dumps({"training/model.safetensors": sha256[:16]})
    client.set_tag(run_id, ARTEFACTS, recorded)
    assert sha256 in using(world, "models:/m/2")[0]
    client.set_tag(run_id, ARTEFACTS, recorded.replace(sha256[:16], "0" * 16))
    with pytest.raises(ArtefactError, match="are not those on record"):
        using(world, "models:/m/2")


def test_a_version_of_which_nothing_vouches_for_the_weights_is_refused(world):
    with pytest.raises(RegistryError, match="m version 2 has no torch weights on record"):
        using(world, "models:/m/2")


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("models:/m/9", "versions of m: 1, 2"),
        ("models:/nobody/1", "versions of nobody: none"),
        ("models:/m@nobody", "holds no models:/m@nobody"),
        ("models:/m", "names no registered version"),
        ("m/1", "names no registered version"),
    ],
)
def test_what_the_registry_does_not_hold_is_named(world, uri, named):
    with pytest.raises(RegistryError) as caught:
        using(world, uri)
    assert named in str(caught.value)


def test_weights_of_another_network_than_the_one_that_was_set_are_refused(world):
    world.set(**{"train.model": "resnet18"})
    before = world.workspace.params.read_bytes()
    with pytest.raises(ParamsError, match=r"is a small_cnn, but train\.model is resnet18"):
        using(world, "models:/m/1")
    assert world.workspace.params.read_bytes() == before
    assert os.listdir(world.home.private / "weights") == []  # noqa: PTH208
