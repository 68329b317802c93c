"""How weights move: rates, penalties, the running mean; against the formulas written out."""

import math

import pytest
import torch
from torch import nn
from trainings import PLAIN, fresh_network, train_params

from pipeline.training.optimization import (
    l1_penalty,
    optimizer_of,
    schedule_share,
    set_rate,
    update_mean,
)


def shares(total: int, **changes: object) -> list[float]:
    params = train_params(**changes)
    return [schedule_share(step, total, params) for step in range(total + 1)]


@pytest.mark.parametrize("total", [10, 100, 1001])
def test_the_learning_rate_rises_to_its_peak_then_falls_to_zero(total):
    found = shares(total, schedule="cosine", warm_up=0.1)
    peak = found.index(1.0)
    assert peak <= total / 10
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[0] > 0
    assert found[-1] == pytest.approx(0)


def test_the_warm_up_is_linear_and_the_rest_a_cosine():
    found = shares(100, schedule="cosine", warm_up=0.2)
    assert found[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    expected = [(1 + math.cos(math.pi * step / 80)) / 2 for step in range(81)]
    assert found[20:] == pytest.approx(expected)


def test_without_warm_up_the_first_step_is_made_at_the_full_rate():
    assert shares(10, schedule="cosine", warm_up=0.0)[0] == 1
    assert shares(1, schedule="cosine", warm_up=0.1)[0] == 1


def test_one_cycle_is_torchs_own():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=26 / 101, cycle_momentum=False
    )
    expected = []
    for _ in range(100):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert shares(100, schedule="one_cycle")[:100] == pytest.approx(expected, abs=1e-6)


def groups(**changes: object) -> tuple[nn.Module, dict[int, dict]]:
    """A network, and the optimiser's group of each of its weights."""
    params = train_params(**(PLAIN | {"hidden": 8} | changes))
    network = fresh_network(params)
    found = optimizer_of(network, params).param_groups
    return network, {id(p): group for group in found for p in group["params"]}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_l2_is_on_matrices_and_kernels_alone(optimizer):
    network, group_of = groups(optimizer=optimizer, weight_decay=0.3)
    decays = {name: group_of[id(p)]["weight_decay"] for name, p in network.named_parameters()}
    dims = {name: p.ndim for name, p in network.named_parameters()}
    assert set(dims.values()) == {1, 2, 4}
    assert decays == {name: 0.3 if dim > 1 else 0.0 for name, dim in dims.items()}


def test_the_backbone_learns_at_its_share_of_the_heads_rate_at_every_moment():
    network, group_of = groups(backbone_rate=0.1, learning_rate=0.2)
    params = train_params(**PLAIN | {"backbone_rate": 0.1, "learning_rate": 0.2})
    optimizer = optimizer_of(network, params)
    assert set_rate(optimizer, 0.5) == pytest.approx(0.1)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {round(rates[id(p)], 9) for p in network.backbone.parameters()} == {0.01}
    assert {round(rates[id(p)], 9) for p in network.head.parameters()} == {0.1}
    assert {group_of[id(p)]["lr"] for p in network.head.parameters()} == {0.2}


def test_momentum_is_nesterovs_and_adamws_first_beta():
    network = fresh_network(train_params(**PLAIN))
    sgd = optimizer_of(network, train_params(momentum=0.8, optimizer="sgd"))
    plain = optimizer_of(network, train_params(momentum=0.0, optimizer="sgd"))
    adamw = optimizer_of(network, train_params(momentum=0.8, optimizer="adamw"))
    assert all(g["momentum"] == 0.8 and g["nesterov"] for g in sgd.param_groups)
    assert not any(g["momentum"] or g["nesterov"] for g in plain.param_groups)
    assert all(g["betas"] == (0.8, 0.999) for g in adamw.param_groups)


def test_l1_is_the_sum_of_absolute_weights_that_move_without_biases():
    head = nn.Linear(2, 1)
    head.weight.data = torch.tensor([[-2.0, 3.0]])
    head.bias.data = torch.tensor([100.0])
    still = nn.Linear(1, 1).requires_grad_(False)
    assert l1_penalty(nn.Sequential(head, still), 0.1).item() == pytest.approx(0.5)


def test_the_running_mean_follows_fast_at_first_then_by_its_decay():
    mean = [torch.tensor([0.0])]
    update_mean(mean, [torch.tensor([1.0])], 0.99, step=0)
    assert mean[0].item() == pytest.approx(0.9)  # a decay of 1 / 10
    update_mean(mean, [torch.tensor([0.0])], 0.99, step=10**6)
    assert mean[0].item() == pytest.approx(0.9 * 0.99)


def test_counts_are_copied_into_the_running_mean_not_averaged():
    mean = [torch.tensor(3)]
    update_mean(mean, [torch.tensor(7)], 0.99, step=10**6)
    assert mean[0].item() == 7
