"""How weights move: the optimiser and its groups, the schedule, the penalties, the running mean."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipeline.params import TrainParams
from pipeline.training.models import Network

_ONE_CYCLE_START, _ONE_CYCLE_END = 1 / 25, 1 / 250_000
_ONE_CYCLE_RISE = 0.25


def optimizer_of(network: Network, params: TrainParams) -> torch.optim.Optimizer:
    """Return the optimiser: the backbone at its own rate, no L2 on biases and norms."""
    groups = []
    for part, share in ((network.backbone, params.backbone_rate), (network.head, 1.0)):
        for decay, tensors in ((params.weight_decay, weights(part)), (0.0, vectors(part))):
            rate = params.learning_rate * share
            if tensors:
                groups.append({"params": tensors, "lr": rate, "peak": rate, "weight_decay": decay})
    rate, momentum = params.learning_rate, params.momentum
    # One pass over the weights instead of one for each operation: a tenth of a small step's time
    if params.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)


def weights(module: nn.Module) -> list[nn.Parameter]:
    """Return what penalties apply to: matrices and kernels."""
    return [p for p in module.parameters() if p.ndim > 1]


def vectors(module: nn.Module) -> list[nn.Parameter]:
    """Return biases and norms."""
    return [p for p in module.parameters() if p.ndim <= 1]


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> float:
    """Set every group to *share* of its peak; return the head's rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return float(optimizer.param_groups[-1]["lr"])


def schedule_share(step: int, total: int, params: TrainParams) -> float:
    """Return the share of the peak learning rate at *step* of *total*.

    Linear warm-up: Goyal et al. 2017, arXiv:1706.02677, section 2.2; cosine to zero: Loshchilov &
    Hutter 2017, arXiv:1608.03983, equation 5; one cycle: Smith & Topin 2018, arXiv:1708.07120, as
    fastai and torch anneal it.
    """
    if params.schedule == "one_cycle":
        rise = max(1, round(total * _ONE_CYCLE_RISE))
        if step < rise:
            return _anneal(_ONE_CYCLE_START, 1, step / rise)
        return _anneal(1, _ONE_CYCLE_END, (step - rise) / max(1, total - rise))
    rise = round(total * params.warm_up)
    if step < rise:
        return (step + 1) / rise
    return _anneal(1, 0, (step - rise) / max(1, total - rise))


def l1_penalty(module: nn.Module, strength: float) -> Tensor:
    """Return *strength* × the sum of all absolute weights."""
    sums = [p.abs().sum() for p in weights(module) if p.requires_grad]
    return strength * torch.stack(sums).sum()


def update_mean(mean: Iterable[Tensor], now: Iterable[Tensor], decay: float, step: int) -> None:
    """Move the running mean of weights towards *now*, faster in the beginning (the warm-up of
    TensorFlow's ExponentialMovingAverage)."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for old, new in zip(mean, now, strict=True):
        if old.is_floating_point():
            old.lerp_(new.detach(), share)
        else:
            old.copy_(new)


def _anneal(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
