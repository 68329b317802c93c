"""Pruning: what was asked is cut, what must stay stays, and a file of tensors rebuilds it."""

import copy

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from pipeline.errors import ParamsError
from pipeline.export.onnx import to_onnx
from pipeline.export.prune import flops, prune, reshape
from pipeline.training.models import Architecture, Network, build

CLASSES = 3


def images(size: int, count: int = 8):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.arange(count) % CLASSES


def fresh(architecture: Architecture) -> Network:
    torch.manual_seed(0)
    return build(architecture, CLASSES).eval()


SMALL = Architecture("small_cnn", 8)
ARCHITECTURES = [
    SMALL,
    Architecture("small_cnn", 8, hidden=24),
    # Sums of branches: their channels go together. MobileNet has such as well, and is cut sooner
    pytest.param(Architecture("small_resnet18", 8), marks=pytest.mark.full),
    Architecture("mobilenet_v3_small", 32),  # depthwise convolutions, squeeze and excitation
]


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=str)
def cut(request):
    network = fresh(request.param)
    pruned, share = prune(network, 0.5, *images(request.param.image_size))
    return request.param, network, pruned, share


def test_the_share_that_was_asked_is_cut_and_said(cut):
    architecture, network, pruned, share = cut
    pixels, _ = images(architecture.image_size)
    assert 0.5 <= share < 0.6
    assert share == 1 - flops(pruned, pixels) / flops(network, pixels)


def test_the_input_and_the_heads_outputs_stay(cut):
    architecture, _, pruned, _ = cut
    pixels, _ = images(architecture.image_size)
    assert pruned(pixels).shape == (8, CLASSES)
    assert pruned.mean.shape == (1, 3, 1, 1)


def test_a_file_of_tensors_is_enough_to_build_it_again(cut):
    architecture, _, pruned, _ = cut
    state = load(save({k: v.contiguous() for k, v in pruned.state_dict().items()}))
    rebuilt = build(architecture, CLASSES).eval()
    reshape(rebuilt, state)
    rebuilt.load_state_dict(state)
    pixels, _ = images(architecture.image_size)
    assert torch.equal(rebuilt(pixels), pruned(pixels))
    for one, other in zip(rebuilt.modules(), pruned.modules(), strict=True):
        assert one.extra_repr() == other.extra_repr()


def test_the_network_that_was_given_stays_whole(cut):
    architecture, network, _, _ = cut
    before = fresh(architecture).state_dict()
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_it_can_be_trained_further(cut):
    architecture, _, pruned, _ = cut
    pixels, labels = images(architecture.image_size)
    training = copy.deepcopy(pruned).train()
    nn.functional.cross_entropy(training(pixels), labels).backward()
    assert all(p.grad is not None for p in training.parameters())


def test_the_same_call_cuts_the_same_channels():
    one, other = (prune(fresh(SMALL), 0.3, *images(8))[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_channel_that_is_never_active_goes_first():
    network = fresh(SMALL)
    dead = [1, 5, 30]
    with torch.no_grad():
        network.backbone[1].weight[dead] = 0
        network.backbone[1].bias[dead] = -1  # the ReLU after it gives 0, whatever the image
    kept = network.backbone[0].weight[[i for i in range(32) if i not in dead]]
    pruned, _ = prune(network, 0.01, *images(8))
    left = {tuple(kernel.flatten().tolist()) for kernel in pruned.backbone[0].weight}
    assert not left & {tuple(network.backbone[0].weight[i].flatten().tolist()) for i in dead}
    assert left <= {tuple(kernel.flatten().tolist()) for kernel in kept}


def test_a_cut_that_no_network_survives_is_an_error_that_says_what_to_do():
    with pytest.raises(ParamsError, match="cannot have 100%") as caught:
        prune(fresh(SMALL), 1.0, *images(8))
    assert "export.prune" in caught.value.mend


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(ParamsError, match="not of this architecture"):
        reshape(fresh(SMALL), fresh(Architecture("small_cnn", 8, hidden=4)).state_dict())


def test_no_batch_norm_is_left_in_the_exported_graph(cut):
    """Each is folded into the convolution before it (Jacob et al. 2018, section 3.2)."""
    architecture, _, pruned, _ = cut
    model = onnx.load_from_string(to_onnx(pruned, architecture.image_size, 1.0))
    kinds = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == sum(isinstance(m, nn.Conv2d) for m in pruned.modules())
