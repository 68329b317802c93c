"""Where the backbone stands still and images stay as they are, each is embedded once."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.params import TrainParams
from pipeline.training.augment import Augmentation
from pipeline.training.memory import halving
from pipeline.training.models import Network


def are_fixed(params: TrainParams, how: Augmentation) -> bool:
    """Whether an image has the same embedding in every epoch."""
    return params.freeze == "backbone" and how.is_none and not params.mixup


def embed(network: Network, inputs: npt.NDArray[Any], batch_size: int) -> npt.NDArray[np.float32]:
    """Return the embeddings (n, width) of pixels (n, size, size, 3).

    Raises TrainingError where memory does not suffice for one image.
    """
    network.eval()
    device = network.mean.device

    def some(start: int, stop: int) -> Tensor:
        return network.embed(torch.from_numpy(inputs[start:stop]).to(device)).cpu()

    with torch.inference_mode():
        parts = [
            halving(some, start, min(start + batch_size, len(inputs)))
            for start in range(0, len(inputs), batch_size)
        ]
    return np.asarray(torch.cat(parts).float().numpy(), np.float32)
