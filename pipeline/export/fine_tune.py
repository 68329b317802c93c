"""A network that was cut recovers: a short training, by the recipe of the first one."""

import copy
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load
from torch import nn

from pipeline.params import TrainParams
from pipeline.training.feed import Feed
from pipeline.training.loop import Epoch, fit
from pipeline.training.models import Network
from pipeline.training.results import Results
from pipeline.training.session import Training

_RATE = 0.1
"""Of the first training's peak: what is left is to be mended, not learned anew."""


def recipe(train: TrainParams, epochs: int) -> TrainParams:
    """Return *train* for a fine-tune of all *epochs*, in fp32. The whole network moves, however it
    was trained: all of it was cut."""
    changes = {
        **{"epochs": epochs, "patience": 0, "learning_rate": _RATE * train.learning_rate},
        **{"freeze": "none", "backbone_rate": 1.0, "precision": "fp32", "compile": "off"},
    }
    return train.model_copy(update=changes)


def fine_tune(
    network: Network,
    feed: Feed,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
    params: TrainParams,
) -> Iterator[Epoch]:
    """Train a copy of *network*, on the feed's device, yielding each epoch; once all are over,
    *network* has the weights of the best one (`params.keep`).

    *validation*: pixels (n, size, size, 3) and labels (n,). The same arguments give the same
    weights on the same machine. Raises TrainingError where it diverges.
    """
    torch.manual_seed(params.seed)
    moving = copy.deepcopy(network)
    for layer in moving.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = params.dropout
    moving = moving.to(feed.device).to(memory_format=torch.channels_last)
    training, results = Training(moving, feed, params, "fp32"), Results(params.keep)
    for record in fit(training, *validation):
        if isinstance(record, Epoch):
            results.add(record, training.judged)
            yield record
    network.load_state_dict(load(results.best))
