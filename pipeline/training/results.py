"""What a training has shown: its epochs, and the weights of the best one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from pipeline.training.loop import Epoch
from pipeline.training.models import Network


def rank(keep: str, accuracy: float, loss: float) -> tuple[float, float]:
    """Return what sorts the best first by *keep*; of two that are equal in it, the other figure
    decides. Epochs of a training, and trials of a study, are ranked by it."""
    return (loss, -accuracy) if keep == "validation_loss" else (-accuracy, loss)


@dataclass
class Results:
    keep: str
    """`validation_accuracy` or `validation_loss`."""
    epochs: list[Epoch] = field(default_factory=list)
    best: bytes = b""
    """Of the best epoch, as safetensors."""

    @property
    def best_epoch(self) -> Epoch:
        """The one that does best by *keep*; among equal ones the first."""
        return min(
            self.epochs, key=lambda e: rank(self.keep, e.validation_accuracy, e.validation_loss)
        )

    def add(self, epoch: Epoch, network: Network) -> None:
        self.epochs.append(epoch)
        if epoch is self.best_epoch:
            state = network.state_dict()
            self.best = save({k: v.detach().contiguous().cpu() for k, v in state.items()})

    def is_over(self, patience: int) -> bool:
        """Whether *patience* epochs have passed without a better one; 0 is endless."""
        if not self.epochs:
            return False
        return 0 < patience <= self.epochs[-1].epoch - self.best_epoch.epoch

    def state(self) -> dict[str, Any]:
        """A tensor is read weights-only; no bytes at all are not."""
        best = torch.from_numpy(np.asarray(bytearray(self.best)))
        return {"epochs": [asdict(epoch) for epoch in self.epochs], "best": best}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.best = state["best"].numpy().tobytes()
