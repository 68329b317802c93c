"""What a network starts from: tensors that fit, of the file that was meant, or an error."""

import hashlib
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models as zoo

from pipeline.errors import DarkroomError, ParamsError, TrainingError
from pipeline.graph import training_key
from pipeline.params import Params, TrainParams
from pipeline.training.models import Architecture, Network, build
from pipeline.training.weights import Start, load_start
from pipeline.workspace import Home, Workspace

CNN, RESNET = Architecture("small_cnn", 16), Architecture("resnet18", 32)
IMAGENET = [pytest.approx(v) for v in (0.485, 0.456, 0.406)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def train(params: Params) -> Callable[..., TrainParams]:
    def with_values(weights: str, sha256: str = "") -> TrainParams:
        return params.train.model_copy(update={"weights": weights, "weights_sha256": sha256})

    return with_values


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(path: Path, state: dict[str, Tensor]) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return path


def other(architecture: Architecture, classes: int = 2, seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return build(architecture, classes)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# A file


def test_none_leaves_a_network_as_it_was_seeded(home, train):
    network = other(CNN)
    assert load_start(network, CNN, train("none"), home) == Start("none", "")
    assert same(network.state_dict(), other(CNN).state_dict())


def test_a_model_of_ours_gives_its_backbone_and_its_normalisation_and_no_head(home, train):
    given, network = other(CNN, classes=5, seed=2), other(CNN)
    given.mean.fill_(0.25)
    given.std.fill_(0.75)
    path = save(home.root / "mine.safetensors", given.state_dict())
    start = load_start(network, CNN, train("mine.safetensors"), home)
    assert start == Start("mine.safetensors", sha256_of(path))
    assert same(network.backbone.state_dict(), given.backbone.state_dict())
    assert same(network.head.state_dict(), other(CNN).head.state_dict()), "the head is new"
    assert network.mean.flatten().tolist() == [0.25] * 3
    assert network.std.flatten().tolist() == [0.75] * 3


def test_a_head_of_as_many_classes_is_not_taken_over_either(home, train):
    """As many is not the same ones."""
    network = other(CNN)
    save(home.root / "mine.safetensors", other(CNN, seed=2).state_dict())
    load_start(network, CNN, train("mine.safetensors"), home)
    assert same(network.head.state_dict(), other(CNN).head.state_dict())


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "squeezenet1_1", "mobilenet_v3_small", "mnasnet0_5"),
        pytest.param("densenet121", marks=pytest.mark.full),
        pytest.param("googlenet", marks=pytest.mark.full),
    ],
)
def test_torchvisions_own_state_dict_fills_the_backbone_as_it_is(home, train, name):
    architecture = Architecture(name, 64)
    options = {"init_weights": True} if name == "googlenet" else {}
    whole = zoo.get_model(name, weights=None, **options).state_dict()
    save(home.root / "bare.safetensors", whole)
    network = build(architecture, 3)
    load_start(network, architecture, train("bare.safetensors"), home)
    filled = network.backbone.state_dict()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in filled.items())
    assert network.mean.flatten().tolist() == IMAGENET


def test_a_densenet_under_its_old_names_is_understood(home, train):
    whole = zoo.densenet121(weights=None).state_dict()
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
        if "denselayer" in key
        else key: tensor
        for key, tensor in whole.items()
    }
    assert old.keys() != whole.keys()
    save(home.root / "old.safetensors", old)
    network = build(Architecture("densenet121", 64), 3)
    load_start(network, Architecture("densenet121", 64), train("old.safetensors"), home)
    filled = network.backbone.state_dict()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in filled.items())


def test_timms_own_state_dict_fills_a_timm_backbone(home, train):
    architecture = Architecture("timm/mobilenetv3_small_050", 64)
    whole = timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict()
    save(home.root / "bare.safetensors", whole)
    network = build(architecture, 3)
    load_start(network, architecture, train("bare.safetensors"), home)
    filled = network.backbone.state_dict()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in filled.items())


def test_another_architecture_is_refused_by_the_first_three_tensors_that_do_not_fit(home, train):
    save(home.root / "r50.safetensors", zoo.resnet50(weights=None).state_dict())
    network = other(RESNET)
    with pytest.raises(ParamsError, match="was not made for resnet18") as caught:
        load_start(network, RESNET, train("r50.safetensors"), home)
    assert len(caught.value.where) == 3
    first = "backbone.layer1.0.conv1.weight: 64 × 64 × 1 × 1, but 64 × 64 × 3 × 3 in the network"
    assert caught.value.where[0] == first
    assert "train.model" in caught.value.mend
    assert same(network.state_dict(), other(RESNET).state_dict()), "nothing was loaded"


def test_a_larger_network_that_holds_all_that_a_smaller_one_needs_is_refused(home, train):
    """All of a ResNet-18's names and shapes are in a ResNet-34."""
    save(home.root / "r34.safetensors", zoo.resnet34(weights=None).state_dict())
    with pytest.raises(ParamsError, match="no such tensor"):
        load_start(other(RESNET), RESNET, train("r34.safetensors"), home)


def test_a_file_that_lacks_a_tensor_is_refused(home, train):
    state = other(CNN).state_dict()
    del state["backbone.0.weight"]
    save(home.root / "mine.safetensors", state)
    with pytest.raises(ParamsError, match=r"backbone\.0\.weight: missing"):
        load_start(other(CNN), CNN, train("mine.safetensors"), home)


def test_the_file_must_be_the_one_whose_hash_is_stated(home, train):
    path = save(home.root / "mine.safetensors", other(CNN).state_dict())
    chosen = train("mine.safetensors", sha256_of(path))
    load_start(other(CNN), CNN, chosen, home)
    save(path, other(CNN, seed=2).state_dict())
    with pytest.raises(TrainingError, match="not the one that was chosen") as caught:
        load_start(other(CNN), CNN, chosen, home)
    assert sha256_of(path) in str(caught.value)


def test_a_missing_file_is_an_error_whose_mend_is_the_verb_that_stores_it(home, train):
    with pytest.raises(TrainingError, match="is not there") as caught:
        load_start(other(CNN), CNN, train("gone.safetensors", "0" * 64), home)
    assert str(home.root / "gone.safetensors") in caught.value.where[0]
    assert "darkroom weights use" in caught.value.mend


def test_a_pickle_by_the_name_of_safetensors_is_refused(home, train):
    torch.save(other(CNN).state_dict(), home.root / "a.safetensors")
    with pytest.raises(ParamsError, match="no safetensors file"):
        load_start(other(CNN), CNN, train("a.safetensors"), home)


@pytest.mark.parametrize(
    ("weights", "sha256", "mend"),
    [
        ("models:/digits/1", "", "darkroom weights use models:/digits/1"),
        ("a/resnet.pth", "", "darkroom convert a/resnet.pth"),
        ("default", "0" * 64, "train.weights_sha256"),
    ],
)
def test_what_training_never_reads_is_sent_where_it_is_made_readable(
    home, train, weights, sha256, mend
):
    with pytest.raises(ParamsError) as caught:
        load_start(other(RESNET), RESNET, train(weights, sha256), home)
    assert mend in caught.value.mend


# The training's key


def test_a_training_from_a_file_is_another_one_when_the_file_changes(home, train):
    (home.root / "dvc.yaml").write_text("stages: {train: {cmd: x, params: [train]}}\n")
    (home.root / "params.yaml").write_text("train: {weights: a.safetensors}\n")
    path = home.root / "a.safetensors"

    def key(train: TrainParams) -> str:
        return training_key(Workspace(home.root), home, train)

    keys = [key(train("a.safetensors"))]
    for content in (b"one", b"two"):
        path.write_bytes(content)
        keys.append(key(train("a.safetensors")))
    assert len({*keys, key(train("none"))}) == 4
    path.write_bytes(b"one")
    assert key(train("a.safetensors")) == keys[1]


# A library's own, from a place that refuses


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is cached, and whatever is asked is asked at a port where nobody listens."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # before it asks again, and again
    return tmp_path


def files(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]


@pytest.mark.parametrize("weights", ["default", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"])
def test_without_a_network_torchvisions_weights_are_a_named_error(home, train, offline, weights):
    with pytest.raises(TrainingError, match=r"ResNet18_Weights\.IMAGENET1K_V1 cannot be had") as e:
        load_start(other(RESNET), RESNET, train(weights), home)
    assert "https://download.pytorch.org/models/resnet18" in e.value.where[0]
    assert str(offline / "torch") in e.value.where[0]
    assert "refused" in e.value.where[1]
    assert "none" in e.value.mend
    assert ".safetensors" in e.value.mend
    assert files(offline) == []


def test_without_a_network_timms_weights_are_a_named_error(home, train, offline):
    architecture = Architecture("timm/mobilenetv3_small_050", 64)
    with pytest.raises(TrainingError, match=r"mobilenetv3_small_050 cannot be had") as caught:
        load_start(build(architecture, 2), architecture, train("default"), home)
    assert "https://huggingface.co/timm/mobilenetv3_small_050.lamb_in1k" in caught.value.where[0]
    assert not [name for name in files(offline) if name.endswith("safetensors")]


@pytest.fixture
def downloaded(offline: Path) -> Path:
    """ResNet-18's weights, as torch's cache would hold them, though of nobody's training."""
    folder = offline / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder / Path(zoo.ResNet18_Weights.DEFAULT.url).name


def test_downloaded_weights_fill_the_backbone_with_what_they_are_normalised_by(
    home, train, downloaded
):
    whole = zoo.resnet18(weights=None).state_dict()
    torch.save(whole, downloaded)
    network = other(RESNET)
    start = load_start(network, RESNET, train("default"), home)
    name = "torchvision ResNet18_Weights.IMAGENET1K_V1"
    assert start == Start(name, sha256_of(downloaded))
    filled = network.backbone.state_dict()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in filled.items())
    assert network.mean.flatten().tolist() == IMAGENET


def test_a_swapped_download_that_would_run_something_does_not(home, train, downloaded, tmp_path):
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "trace",)

    torch.save({"conv1.weight": Trap()}, downloaded)
    with pytest.raises(TrainingError, match="cannot be had"):
        load_start(other(RESNET), RESNET, train("default"), home)
    assert not (tmp_path / "trace").exists()


def test_pretrained_inception_keeps_the_normalisation_that_its_builder_would_undo(
    home, train, offline
):
    """torchvision sets `transform_input` when it loads weights: the same numbers go in."""
    path = offline / "torch/hub/checkpoints" / Path(zoo.GoogLeNet_Weights.DEFAULT.url).name
    path.parent.mkdir(parents=True)
    whole = zoo.googlenet(weights=None, init_weights=True, transform_input=True)
    torch.save(whole.state_dict(), path)
    architecture = Architecture("googlenet", 64)
    network = build(architecture, 2)
    load_start(network, architecture, train("default"), home)
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    usual = build(architecture, 2)  # ImageNet's, as torchvision's own transforms have it
    images = (pixels.permute(0, 3, 1, 2) / 255 - usual.mean) / usual.std
    ours: list[Tensor] = []
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: ours.append(inputs[0]))
    network.eval().embed(pixels)
    torch.testing.assert_close(ours[0], whole._transform_input(images))


def test_timms_downloaded_weights_come_with_their_normalisation(home, train, monkeypatch, tmp_path):
    architecture = Architecture("timm/vit_tiny_patch16_224", 96)
    whole = timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict()
    path = save(tmp_path / "model.safetensors", whole)
    asked: list[str] = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *names: asked.extend(names) or str(path)
    )
    network = build(architecture, 2)
    start = load_start(network, architecture, train("augreg_in21k_ft_in1k"), home)
    assert asked == ["timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "model.safetensors"]
    assert start == Start("timm vit_tiny_patch16_224.augreg_in21k_ft_in1k", sha256_of(path))
    filled = network.backbone.state_dict()
    assert torch.equal(filled["blocks.0.attn.qkv.weight"], whole["blocks.0.attn.qkv.weight"])
    assert filled["pos_embed"].shape[1] == 37, "timm fits its positions to the size"
    assert network.mean.flatten().tolist() == network.std.flatten().tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("architecture", "weights", "told"),
    [
        (RESNET, "IMAGENET1K_V9", "IMAGENET1K_V1"),
        (Architecture("timm/resnet18", 32), "a9_in1k", "a1_in1k"),
        (CNN, "default", "small_cnn has no pretrained weights"),
    ],
)
def test_weights_that_no_library_has_are_named_with_those_that_it_has(
    home, train, offline, architecture, weights, told
):
    with pytest.raises(DarkroomError) as caught:
        load_start(build(architecture, 2), architecture, train(weights), home)
    assert isinstance(caught.value, ParamsError)
    assert told in str(caught.value)
