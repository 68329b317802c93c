"""Everything that changes while a network is trained, so that it can be saved as a whole."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.params import TrainParams
from pipeline.training.distributed import Processes
from pipeline.training.feed import Feed
from pipeline.training.models import Network
from pipeline.training.optimization import optimizer_of


@dataclass
class Progress:
    """Where a training is: all of it but tensors."""

    epoch: int = 1
    step: int = 0
    """Descents made in this epoch."""
    steps: int = 0
    """Descents made in all."""
    loss: float = 0.0
    """Sum over the images of this epoch."""
    right: float = 0.0
    seen: int = 0
    rate: float = 0.0


class Training:
    """One training: what it is made of, and how far it is."""

    def __init__(self, network: Network, feed: Feed, params: TrainParams, precision: str) -> None:
        self.network = network
        self.feed = feed
        self.params = params
        self.precision = precision
        self.compiled = False
        self.optimizer = optimizer_of(network, params)
        self.mean = copy.deepcopy(network).requires_grad_(False) if params.ema else None
        self.progress = Progress()
        self.parts = params.accumulate
        self.processes = Processes.current()
        self.class_weights = _class_weights(feed, params.balance)

    def compile(self) -> None:
        self.network.compile()
        self.compiled = True

    @property
    def judged(self) -> Network:
        """The network that is validated and kept."""
        return self.network if self.mean is None else self.mean

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "mean": None if self.mean is None else self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": dict(vars(self.progress)),
            "parts": self.parts,
            "random": random_state(self.feed.device),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.parts = state["parts"]
        set_random_state(state["random"], self.feed.device)


def statistics(network: Network) -> dict[str, Tensor]:
    """Return a copy of what a forward pass changes: the statistics of batch norms."""
    return {
        name: buffer.clone()
        for name, buffer in network.named_buffers()
        if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    }


def random_state(device: torch.device) -> list[Tensor]:
    """Return what dropout draws from: the state of torch's generators."""
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)


def _class_weights(feed: Feed, balance: str) -> Tensor | None:
    """A class's weight is as much above 1 as its images are rarer than the mean class's.

    `split` sees to it that every class has a training image.
    """
    if balance != "loss":
        return None
    counts = np.bincount(feed.labels)
    weight = counts.sum() / len(counts) / counts
    return torch.tensor(weight, dtype=torch.float32, device=feed.device)
