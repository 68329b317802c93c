"""Small trainings for tests: tiny images, any parameters."""

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import nn
from worlds import ROOT

from pipeline.params import TrainParams, load_params
from pipeline.training.feed import Feed, augmentation_of
from pipeline.training.loop import Epoch, Look, Step, fit, predictions
from pipeline.training.models import Network
from pipeline.training.results import Results
from pipeline.training.session import Training

SIZE = 8
PLAIN: dict[str, object] = {
    **{"dropout": 0.0, "flip": 0.0, "rotation": 0.0, "scale": 0.0, "shift": 0.0, "colour": 0.0},
    **{"precision": "fp32", "compile": "off", "device": "cpu", "model": "small_cnn"},
    **{"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.0005, "schedule": "cosine"},
}
"""Nothing at random but weights and order, nothing measured, plain gradient descent."""


@cache
def _template() -> dict[str, object]:
    return load_params(ROOT / "params.yaml").train.model_dump()


def train_params(**changes: object) -> TrainParams:
    """The template's parameters, with these changes."""
    return TrainParams.model_validate(_template() | changes)


def greys(
    count: int, side: int = SIZE, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Noisy greys and their labels: below 100 is class 0, above 155 is class 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    noise = random.integers(0, 100, (count, side, side, 3))
    return (noise + labels[:, None, None, None] * 155).astype(np.uint8), labels


VALIDATION = greys(20, seed=1)
EPOCH = Epoch(
    epoch=1,
    learning_rate=0.1,
    train_loss=0.5,
    train_accuracy=0.75,
    validation_loss=0.25,
    validation_accuracy=0.875,
)
"""One that is over."""


def make_feed(params: TrainParams, inputs: npt.NDArray, labels: npt.NDArray) -> Feed:
    how = augmentation_of(params, flips=True)
    device = torch.device("cpu")
    return Feed(inputs, labels, SIZE, how, params.batch_size, params.seed, params.balance, device)


def fresh_network(params: TrainParams) -> Network:
    """Has all that a real one has, and takes no time: a convolution, a norm, a head."""
    torch.manual_seed(params.seed)
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), *pooled)
    network = Network(backbone, 4, 2, params.hidden, params.dropout)
    return network.to(memory_format=torch.channels_last)


def make_training(
    network: Network | None = None,
    data: tuple[npt.NDArray, npt.NDArray] | None = None,
    **changes: object,
) -> Training:
    """A training of two epochs of three steps on sixty greys, at its beginning."""
    params = train_params(**(PLAIN | {"epochs": 2, "batch_size": 25} | changes))
    side = augmentation_of(params, flips=True).source_side(SIZE)
    inputs, labels = data or greys(60, side)
    feed = make_feed(params, inputs, labels)
    return Training(network or fresh_network(params), feed, params, "fp32")


def run(
    training: Training,
    results: Results | None = None,
    after: Callable[[], object] = lambda: None,
    validation: tuple[npt.NDArray, npt.NDArray] = VALIDATION,
) -> list[Step | Epoch]:
    """Train to the end, as the stage does; call *after* each record; return all but the looks."""
    records: list[Step | Epoch] = []
    for record in fit(training, *validation):
        if isinstance(record, Look):
            continue
        records.append(record)
        if results is not None and isinstance(record, Epoch):
            results.add(record, training.judged)
        after()
    return records


def predict(
    network: Network, inputs: npt.NDArray, batch_size: int = 256
) -> npt.NDArray[np.float64]:
    return np.concatenate(list(predictions(network, inputs, torch.device("cpu"), batch_size)))


def weights(network: Network) -> bytes:
    return save({k: v.contiguous() for k, v in network.state_dict().items()})
