"""Every network gets our head; what it cannot be is said before training starts."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torchvision.models import regnet

from pipeline.errors import ParamsError
from pipeline.training.models import Architecture, Network, build, choose, names

CLASSES = 7


@pytest.fixture
def build_shapes(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Network]:
    """Build a network of any size in no time: shapes only, no numbers."""
    depths = regnet.BlockParams.from_init_params

    def with_numbers(*arguments: object, **options: object) -> object:
        with torch.device("cpu"):  # RegNet works its depths out with tensors
            return depths(*arguments, **options)

    def built(name: str, size: int) -> Network:
        with torch.device("meta"):
            return build(Architecture(name, size), CLASSES)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", with_numbers)
    return built


@pytest.mark.parametrize("name", names())
def test_every_classifier_has_our_head_on_its_own_embedding(build_shapes, name):
    embeddings = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(module, nn.Linear) and module.out_features == CLASSES:
            embeddings.append(tuple(inputs[0].shape))

    with register_module_forward_hook(watch):  # `build` tries every network on one image
        network = build_shapes(name, 224)
    assert embeddings == [(1, network.head.in_features)]
    heads = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == 1000]
    assert not heads, "torchvision's own head is still there"
    assert network.training


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_network_with_auxiliary_heads_trains_without_them(build_shapes, name):
    pixels = torch.zeros(2, 224, 224, 3, dtype=torch.uint8, device="meta")
    assert build_shapes(name, 224).train()(pixels).shape == (2, CLASSES)


def test_a_network_maps_bytes_to_logits_by_way_of_its_embedding():
    network = build(Architecture("small_cnn", 16), CLASSES).eval()
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    logits = network(images)
    assert logits.shape == (3, CLASSES)
    assert torch.equal(logits, network.head(network.embed(images)))


def test_normalisation_is_part_of_the_network():
    seen: list[Tensor] = []
    network = build(Architecture("small_cnn", 8), 2).eval()
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((1, 8, 8, 3), 255, dtype=torch.uint8))
    expected = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("median", "chosen"),
    [
        (8, Architecture("small_cnn", 16)),
        (28, Architecture("small_cnn", 32)),
        (64, Architecture("small_cnn", 64)),
        (65, Architecture("resnet18", 96)),
        (100, Architecture("resnet18", 128)),
        (4000, Architecture("resnet18", 128)),
    ],
)
def test_auto_gives_small_pictures_a_small_network_and_photos_a_resnet(median, chosen):
    assert choose("auto", "auto", median) == chosen


def test_the_small_resnet_keeps_the_resolution_of_small_pictures():
    network = build(Architecture("small_resnet18", 32), CLASSES).eval()
    sides: list[int] = []
    network.backbone.layer1.register_forward_hook(lambda *hook: sides.append(hook[2].shape[-1]))
    assert network(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).shape == (1, CLASSES)
    assert sides == [32], "torchvision's own would see 8"


def test_a_hidden_layer_is_one_more_layer_of_the_head():
    network = build(Architecture("small_cnn", 16, hidden=24), CLASSES, dropout=0.3).eval()
    shapes = [tuple(m.weight.shape) for m in network.head.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(24, 128), (CLASSES, 24)]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert network(torch.zeros(2, 16, 16, 3, dtype=torch.uint8)).shape == (2, CLASSES)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("timm/resnet18", 64),
        ("timm/mobilenetv3_small_050.lamb_in1k", 64),  # wider behind its pooling than it says
        ("timm/vit_tiny_patch16_224", 96),  # made for one size
    ],
)
def test_a_timm_model_has_our_head_on_its_own_embedding(name, size):
    network = build(Architecture(name, size), CLASSES)
    assert network.training
    pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    assert network.eval()(pixels).shape == (2, CLASSES)
    assert network.embed(pixels).shape == (2, network.head.in_features)
    assert not [p for p in network.parameters() if p.ndim == 2 and len(p) == 1000]


def test_without_timm_its_models_are_a_params_error_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ParamsError, match="timm, which is not installed") as caught:
        build(Architecture("timm/resnet18", 32), CLASSES)
    assert "pip install" in caught.value.mend


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet19", "resnet18"),
        ("mobilenet_v3_smal", "mobilenet_v3_small"),
        ("small_resnet", "small_resnet18"),
        ("timm/resnet19", "timm/resnet18"),
        ("timm/resnet18.a9_in1k", "timm/resnet18.a1_in1k"),
    ],
)
def test_a_mistyped_name_is_told_what_is_near_it(name, meant):
    with pytest.raises(ParamsError) as caught:
        build(Architecture(name, 32), CLASSES)
    assert repr(name) in caught.value.what
    assert meant in caught.value.where[0].split(": ")[1].split(", ")


def test_auto_leaves_what_was_set_alone():
    assert choose("mobilenet_v2", "auto", 28) == Architecture("mobilenet_v2", 32)
    assert choose("auto", 48, 28) == Architecture("small_cnn", 48)
    assert choose("vgg11", 224, 28) == Architecture("vgg11", 224)


@pytest.mark.parametrize("name", ["resnet19", "", "resnet18 ", "quantized_resnet18", "raft_large"])
def test_an_unknown_name_is_a_params_error(name):
    with pytest.raises(ParamsError, match=r"train\.model") as caught:
        build(Architecture(name, 32), CLASSES)
    assert repr(name) in caught.value.what


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("inception_v3", 32),  # a kernel is larger than what reaches it
        ("alexnet", 16),  # nothing is left of the image
        ("maxvit_t", 100),  # windows do not fit
        ("vit_b_16", 100),  # patches do not fit
    ],
)
def test_a_size_that_a_network_cannot_take_is_a_params_error(build_shapes, name, size):
    with pytest.raises(ParamsError, match=f"{name} cannot take {size} px") as caught:
        build_shapes(name, size)
    assert "train.image_size" in caught.value.mend
