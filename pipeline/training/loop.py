"""The training loop: forward pass, cross-entropy, backward pass, gradient descent, many rounds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.data.cache import Examples
from pipeline.errors import TrainingError
from pipeline.metrics import accuracy, log_loss
from pipeline.params import TrainParams
from pipeline.training.models import Network

_WARM_UP = 0.1
"""Share of all steps over which the learning rate rises."""


@dataclass(frozen=True)
class Step:
    """One descent was made."""

    epoch: int
    number: int
    """Within the epoch, from 1."""
    of: int


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images, and the validation images looked at once."""

    epoch: int
    """From 1."""
    learning_rate: float
    """Of its last step."""
    train_loss: float
    """Mean cross-entropy over its steps, in nats, weights moving."""
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


def fit(
    network: Network, train: Examples, validation: Examples, params: TrainParams
) -> Iterator[Step | Epoch]:
    """Train *network* in place; yield one record a step and one an epoch. Logs and writes nothing.

    Raises TrainingError where the loss is no number any more.
    """
    optimizer = torch.optim.SGD(
        _decayed(network, params.weight_decay),
        lr=params.learning_rate,
        momentum=params.momentum,
        nesterov=params.momentum > 0,
    )
    steps = math.ceil(len(train.labels) / params.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule_share(step, steps * params.epochs)
    )
    for epoch in range(1, params.epochs + 1):
        network.train()
        rate, loss_sum, right = 0.0, torch.zeros((), dtype=torch.float64), 0
        for number, chosen in enumerate(batches(len(train.labels), steps, params.seed, epoch), 1):
            rate = float(schedule.get_last_lr()[0])
            logits, labels = _forward(network, train, chosen)
            loss = nn.functional.cross_entropy(logits, labels)
            if not torch.isfinite(loss):
                raise _diverged(epoch, number, rate)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach().double().cpu() * len(chosen)
            right += int((logits.argmax(1) == labels).sum())
            yield Step(epoch, number, steps)
        probabilities = predict(network, validation)
        if not np.isfinite(probabilities).all():
            raise _diverged(epoch, steps, rate)
        yield Epoch(
            epoch=epoch,
            learning_rate=rate,
            train_loss=float(loss_sum) / len(train.labels),
            train_accuracy=right / len(train.labels),
            validation_loss=log_loss(probabilities, validation.labels),
            validation_accuracy=accuracy(probabilities, validation.labels),
        )


def batches(n: int, steps: int, seed: int, epoch: int) -> Iterator[npt.NDArray[np.int64]]:
    """Cut a new order of *n* images into *steps* batches of nearly equal size."""
    order = np.random.default_rng((seed, epoch)).permutation(n)
    yield from np.array_split(order, steps)


def schedule_share(step: int, total: int) -> float:
    """Return the share of the peak learning rate at *step* of *total*: linear up, cosine down.

    Warm-up: Goyal et al. 2017, arXiv:1706.02677, section 2.2; cosine: Loshchilov & Hutter 2017,
    arXiv:1608.03983, equation 5.
    """
    rise = max(1, round(total * _WARM_UP))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def predict(network: Network, examples: Examples, batch_size: int = 256) -> npt.NDArray[np.float64]:
    """Return probabilities (n, num_classes), computed in float64 from the logits."""
    network.eval()
    with torch.inference_mode():
        parts = [
            _forward(
                network, examples, np.arange(start, min(start + batch_size, len(examples.labels)))
            )[0]
            for start in range(0, len(examples.labels), batch_size)
        ]
        logits = torch.cat(parts).double().cpu()
    return np.asarray(torch.softmax(logits, 1).numpy(), np.float64)


def _forward(
    network: Network, examples: Examples, chosen: npt.NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    device = network.mean.device
    pixels = torch.from_numpy(examples.pixels[chosen]).to(device)
    labels = torch.from_numpy(examples.labels[chosen]).to(device)
    return network(pixels), labels


def _decayed(network: Network, weight_decay: float) -> list[dict[str, object]]:
    """L2 for weights; none for biases and norms, which are vectors."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def _diverged(epoch: int, step: int, rate: float) -> TrainingError:
    return TrainingError(
        "training diverged: the loss is no number any more",
        f"epoch {epoch}, step {step}, learning rate {rate:.3g}",
        mend="lower train.learning_rate in params.yaml",
    )
