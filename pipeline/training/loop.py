"""The training loop: forward pass, cross-entropy, backward pass, gradient descent, many rounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.metrics import accuracy, log_loss
from pipeline.training.feed import Batch
from pipeline.training.memory import halving, is_out_of_memory, too_large
from pipeline.training.models import Network
from pipeline.training.optimization import l1_penalty, schedule_share, set_rate, update_mean
from pipeline.training.session import Training, random_state, set_random_state, statistics


@dataclass(frozen=True)
class Step:
    """One descent was made."""

    epoch: int
    number: int
    """Within the epoch, from 1."""
    of: int
    images: int
    """Seen in this epoch so far."""
    loss: float
    """Mean over the epoch so far."""
    accuracy: float
    parts: int
    """In which the batch went through the network; it grows where memory was short."""


@dataclass(frozen=True)
class Look:
    """Some more of the validation images went through the network."""

    epoch: int
    images: int
    of: int


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images, and the validation images looked at once."""

    epoch: int
    """From 1."""
    learning_rate: float
    """Of its last step, of the head."""
    train_loss: float
    """Mean over its steps, in nats, weights moving; without penalties."""
    train_accuracy: float
    validation_loss: float
    """Mean cross-entropy in nats."""
    validation_accuracy: float


def fit(
    training: Training, inputs: npt.NDArray[Any], labels: npt.NDArray[np.int64]
) -> Iterator[Step | Look | Epoch]:
    """Train until the last epoch, validating on *inputs* and *labels* after each; yield a record
    of all that is done. Logs and writes nothing; `training` may be saved at each record.

    *inputs*: pixels (n, size, size, 3), or embeddings (n, width). Raises TrainingError where the
    loss is no number any more, or memory does not suffice for one image.
    """
    params, feed = training.params, training.feed
    progress = training.progress
    total = feed.steps * params.epochs
    while progress.epoch <= params.epochs:
        _set_mode(training)
        for batch in feed.batches(progress.epoch, progress.step):
            progress.rate = set_rate(
                training.optimizer, schedule_share(progress.steps, total, params)
            )
            _descend(training, batch)
            yield Step(
                progress.epoch,
                progress.step,
                feed.steps,
                progress.seen,
                progress.loss / progress.seen,
                progress.right / progress.seen,
                training.parts,
            )
        yield from _validate(training, inputs, labels)


def _descend(training: Training, batch: Batch) -> None:
    """One step down the gradient; where memory is short, the batch goes through in more parts."""
    device = training.feed.device
    random, before = random_state(device), statistics(training.network)
    while True:
        try:
            loss, right, seen = _gradient(training, batch)
            break
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # a batch norm's words
                raise
            raise _too_small() from None
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if training.parts >= len(batch.labels):
                raise too_large() from None
            training.parts *= 2
            set_random_state(random, device)
            training.network.load_state_dict(before, strict=False)
    progress, params = training.progress, training.params
    if not np.isfinite(loss):
        raise _diverged(training)
    if params.clip:
        nn.utils.clip_grad_norm_(training.network.parameters(), params.clip)
    training.optimizer.step()
    if training.mean is not None:
        now = training.network.state_dict().values()
        update_mean(training.mean.state_dict().values(), now, params.ema, progress.steps)
    progress.step += 1
    progress.steps += 1
    progress.loss += loss
    progress.right += right
    progress.seen += round(seen)


def _gradient(training: Training, batch: Batch) -> list[float]:
    """Lay the gradient of *batch*'s mean loss down; return the sum of its losses, its right answers
    and its images, over all processes."""
    training.optimizer.zero_grad()
    params, device = training.params, batch.inputs.device
    whole = len(batch.labels)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    inputs, others, share = _mixed(training, batch)
    for part in np.array_split(np.arange(whole), min(training.parts, whole)):
        places = slice(int(part[0]), int(part[-1]) + 1)
        labels = batch.labels[places]
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            logits = training.network(inputs[places])
        losses = share * _losses(training, logits.float(), labels)
        if others is not None:
            losses = losses + (1 - share) * _losses(training, logits.float(), others[places])
        loss = losses.sum() / whole
        if params.l1:
            loss = loss + l1_penalty(training.network, params.l1) * len(labels) / whole
        loss.backward()  # type: ignore[no-untyped-call]
        right = (logits.argmax(1) == labels).sum()
        sums += torch.stack([losses.detach().double().sum(), right, right.new_tensor(len(labels))])
    training.processes.average_gradients(training.network, whole)
    total: list[float] = training.processes.add_up(sums).tolist()
    return total


def _mixed(training: Training, batch: Batch) -> tuple[Tensor, Tensor | None, float]:
    """Mix the images of a batch in pairs (Zhang et al. 2018, arXiv:1710.09412); return them, the
    labels that they were mixed with, and the first one's share."""
    if not training.params.mixup:
        return batch.inputs, None, 1.0
    seed = (training.params.seed, training.progress.epoch, training.progress.step, 1)
    random = np.random.default_rng(seed)
    share = float(random.beta(training.params.mixup, training.params.mixup))
    partner = torch.from_numpy(random.permutation(len(batch.labels))).to(batch.labels.device)
    inputs = batch.inputs.float()
    return share * inputs + (1 - share) * inputs[partner], batch.labels[partner], share


def _losses(training: Training, logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(
        logits,
        labels,
        weight=training.class_weights,
        label_smoothing=training.params.label_smoothing,
        reduction="none",
    )


def _validate(
    training: Training, inputs: npt.NDArray[Any], labels: npt.NDArray[np.int64]
) -> Iterator[Look | Epoch]:
    progress = training.progress
    training.processes.share_statistics(training.network)
    if training.mean is not None:
        training.processes.share_statistics(training.mean)
    # The same in every process, however short its memory: they stop between two parts together
    at_once = -(-training.params.batch_size // training.params.accumulate)
    parts: list[npt.NDArray[np.float64]] = []
    for part in predictions(training.judged, inputs, training.feed.device, at_once):
        parts.append(part)
        yield Look(progress.epoch, sum(len(each) for each in parts), len(inputs))
    probabilities = np.concatenate(parts)
    if not np.isfinite(probabilities).all():
        raise _diverged(training)
    done = Epoch(
        epoch=progress.epoch,
        learning_rate=progress.rate,
        train_loss=progress.loss / progress.seen,
        train_accuracy=progress.right / progress.seen,
        validation_loss=log_loss(probabilities, labels),
        validation_accuracy=accuracy(probabilities, labels),
    )
    progress.epoch += 1
    progress.step = progress.seen = 0
    progress.loss = progress.right = 0.0
    yield done


def predictions(
    network: Network, inputs: npt.NDArray[Any], device: torch.device, batch_size: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield probabilities, (batch_size, num_classes), computed in float64 from the logits."""
    network.eval()

    def predict(start: int, stop: int) -> Tensor:
        with torch.inference_mode():
            batch = torch.from_numpy(inputs[start:stop]).to(device)
            return torch.softmax(network(batch).double(), 1).cpu()

    for start in range(0, len(inputs), batch_size):
        part = halving(predict, start, min(start + batch_size, len(inputs)))
        yield np.asarray(part.numpy(), np.float64)


def _set_mode(training: Training) -> None:
    """A backbone that stands still keeps its statistics too."""
    freeze, network = training.params.freeze, training.network
    still = freeze == "backbone" or (isinstance(freeze, int) and training.progress.epoch < freeze)
    network.train()
    network.backbone.train(not still)
    network.backbone.requires_grad_(not still)


def _too_small() -> TrainingError:
    return TrainingError(
        "a single image has no batch statistics at this size, and a batch, or its part, is one",
        mend="raise train.batch_size or image_size, or lower train.accumulate, in params.yaml",
    )


def _diverged(training: Training) -> TrainingError:
    progress = training.progress
    step = min(progress.step + 1, training.feed.steps)  # of the last one, validation tells
    return TrainingError(
        "training diverged: the loss is no number any more",
        f"epoch {progress.epoch}, step {step}, learning rate {progress.rate:.3g}",
        mend="lower train.learning_rate in params.yaml",
    )
