"""A library's own weights, from its cache, and from a place that refuses."""

import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from starts import CNN, IMAGENET, RESNET, other, save, sha256_of
from torch import Tensor
from torchvision import models as zoo

from pipeline.errors import DarkroomError, ParamsError, TrainingError
from pipeline.training.models import Architecture, build
from pipeline.training.weights import Start, load_start


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
    with pytest.raises(TrainingError, match="not one of tensors alone"):
        load_start(other(RESNET), RESNET, train("default"), home)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_download_that_was_cut_off_is_the_one_file_to_delete(home, train, downloaded, zipped):
    state = {"a": torch.zeros(30), "b": torch.ones(3)}
    torch.save(state, downloaded, _use_new_zipfile_serialization=zipped)
    whole = downloaded.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 40)):
        downloaded.write_bytes(whole[:end])
        with pytest.raises(TrainingError, match="is damaged") as caught:
            load_start(other(RESNET), RESNET, train("default"), home)
        assert caught.value.mend.startswith(f"delete {downloaded}:")
        assert "network" not in caught.value.mend


@pytest.mark.parametrize("document", [[torch.zeros(3)], torch.zeros(3), {"conv1.weight": 3}])
def test_a_download_that_is_no_state_dict_is_the_file_to_delete(home, train, downloaded, document):
    torch.save(document, downloaded)
    with pytest.raises(TrainingError, match="not one of tensors alone") as caught:
        load_start(other(RESNET), RESNET, train("default"), home)
    assert caught.value.mend.startswith(f"delete {downloaded}:")


def test_a_download_of_timms_that_was_cut_off_is_the_one_file_to_delete(
    home, train, monkeypatch, tmp_path
):
    """Hugging Face's cache names it by a link: that alone would come back to the same bytes."""
    cached, link = tmp_path / "blob", tmp_path / "model.safetensors"
    cached.write_bytes(b"\x40\0\0\0")
    link.symlink_to(cached)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *names: str(link))
    architecture = Architecture("timm/mobilenetv3_small_050", 64)
    with pytest.raises(TrainingError, match="is damaged") as caught:
        load_start(build(architecture, 2), architecture, train("default"), home)
    assert caught.value.mend.startswith(f"delete {cached}:")


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
