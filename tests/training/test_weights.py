"""What a network starts from: tensors that fit, of the file that was meant, or an error."""

import pytest
import timm
import torch
from starts import CNN, IMAGENET, RESNET, other, same, save, sha256_of
from torchvision import models as zoo

from pipeline.errors import ParamsError, TrainingError
from pipeline.graph import training_key
from pipeline.params import TrainParams
from pipeline.training.models import Architecture, build
from pipeline.training.weights import Start, load_start
from pipeline.workspace import Workspace

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


@pytest.mark.parametrize(
    ("tensor", "value", "told"),
    [
        ("mean", float("nan"), "mean: NaN, or infinite"),
        ("std", float("nan"), "std: NaN, or infinite"),
        ("std", 0.0, "std: 0 or less"),
        ("std", -0.5, "std: 0 or less"),
        ("backbone.0.weight", float("inf"), "backbone.0.weight: NaN, or infinite"),
    ],
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_a_file_whose_numbers_would_make_training_diverge_is_refused_by_the_tensor(
    home, train, tensor, value, told, kind
):
    state = {name: held.to(kind) for name, held in other(CNN).state_dict().items()}
    state[tensor].view(-1)[-1] = value
    save(home.root / "mine.safetensors", state)
    network = other(CNN)
    with pytest.raises(ParamsError, match=r"no training can start from mine\.safetensors") as e:
        load_start(network, CNN, train("mine.safetensors"), home)
    assert e.value.where[0].startswith(told) and len(e.value.where) == 1
    assert same(network.state_dict(), other(CNN).state_dict()), "nothing was loaded"


def test_numbers_of_a_head_that_is_not_taken_over_keep_nothing_from_starting(home, train):
    state = other(CNN).state_dict()
    state["head.weight"].fill_(float("nan"))
    save(home.root / "mine.safetensors", state)
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
