"""How fast training is: `DARKROOM_TEST_DATA=... python benchmarks/training.py`.

Ratios, each pair alternating in this one process, medians of 5. Prints one JSON object a line for
each bar.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from photos import PLAIN, Photos, machine, params_with, photos_of, tell, training_of, unpacked
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

from pipeline.params import TrainParams
from pipeline.training.features import embed
from pipeline.training.feed import augmentation_of
from pipeline.training.loop import Step, fit
from pipeline.training.models import Architecture, build
from pipeline.training.session import Training

ROUNDS = 5
AUGMENTED = {"flip": 0.5, "rotation": 10.0, "scale": 0.2, "shift": 0.05, "colour": 0.0}
ENDLESS = 10**6


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpacked("cats_dogs.tar", Path(scratch))
        photos = photos_of(folder)
        share = _epoch_share(photos, "resnet18", 224)
        tell("ResNet-18, 224 px: epoch / resident step", share, 0.95)
        share = _epoch_share(photos, "mobilenet_v3_small", 128)
        tell("MobileNetV3-small, 128 px: epoch / resident step", share, 0.90)
        usual = _against_the_usual(photos, folder)
        tell("MobileNetV3-small, 128 px: ours / ImageFolder and 2 workers", usual, 2.0)
        cifar = photos_of(unpacked("cifar10.tar.xz", Path(scratch)) / "test", most=5000)
        tell("frozen backbone, 10 epochs: the whole network / the head", _frozen(cifar), 20)


def _epoch_share(photos: Photos, model: str, size: int) -> float:
    """Return images/s of whole, augmented epochs ÷ images/s of steps on one resident batch."""
    params = params_with(**AUGMENTED, epochs=ENDLESS)
    training = _training(photos, model, size, params)
    resident = _training(photos, model, size, params_with(**PLAIN, epochs=ENDLESS))
    batch = next(iter(resident.feed.batches(1)))

    def resident_steps() -> Iterator[float]:
        while True:
            resident.optimizer.zero_grad()
            logits = resident.network(batch.inputs)
            nn.functional.cross_entropy(logits, batch.labels).backward()
            resident.optimizer.step()
            yield len(batch.labels)

    steps = fit(training, np.zeros((1, size, size, 3), np.uint8), np.zeros(1, np.int64))
    a_step = len(photos.labels) / training.feed.steps
    ours = (a_step for record in steps if isinstance(record, Step))
    return _ratio(ours, resident_steps(), f"{model} {size} px, epochs", "resident batch")


def _against_the_usual(photos: Photos, folder: Path) -> float:
    """Return images/s of whole epochs ÷ those of the loop of most tutorials."""
    training = _training(
        photos, "mobilenet_v3_small", 128, params_with(**AUGMENTED, epochs=ENDLESS)
    )
    steps = fit(training, np.zeros((1, 128, 128, 3), np.uint8), np.zeros(1, np.int64))
    a_step = len(photos.labels) / training.feed.steps
    ours = (a_step for record in steps if isinstance(record, Step))
    return _ratio(ours, _usual(folder, 128), "MobileNetV3-small 128 px, epochs", "ImageFolder loop")


def _usual(folder: Path, size: int) -> Iterator[float]:
    augmented = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.7, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(10),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(ImageFolder(folder, augmented), 32, shuffle=True, num_workers=2)
    network = models.mobilenet_v3_small(num_classes=2).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    while True:
        for pixels, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(pixels), labels).backward()
            optimizer.step()
            yield len(labels)


def _frozen(photos: Photos) -> float:
    """Return seconds of 10 epochs of the whole network ÷ of the head alone, features once.

    The former from 10 of its steps: they are all alike, and 1,570 take half an hour.
    """
    whole = _training(photos, "small_resnet18", 32, params_with(**PLAIN, epochs=ENDLESS))
    steps = (record for record in fit(whole, whole.feed.inputs, whole.feed.labels))
    next(steps)
    started = time.perf_counter()
    for _ in range(10):
        next(steps)
    slow = (time.perf_counter() - started) / 10 * whole.feed.steps * 10
    started = time.perf_counter()
    head = _training(
        photos, "small_resnet18", 32, params_with(**PLAIN, freeze="backbone", epochs=10)
    )
    embedded = embed(head.network, head.feed.inputs, 256)
    head.feed = replace(head.feed, inputs=embedded)
    for _ in fit(head, embedded[:100], head.feed.labels[:100]):
        pass
    fast = time.perf_counter() - started
    print(f"  10 epochs {slow:.0f} s, features once {fast:.1f} s")
    return slow / fast


def _ratio(ours: Iterator[float], theirs: Iterator[float], name: str, other: str) -> float:
    """Return the median of the ratios of images/s, some seconds of each in turn."""
    for each in (ours, theirs):
        for _ in range(3):
            next(each)
    pairs = [(_speed(ours), _speed(theirs)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    speeds = [statistics.median(speed) for speed in zip(*pairs, strict=True)]
    print(f"  {name} {speeds[0]:.0f} images/s, {other} {speeds[1]:.0f} images/s")
    return ratio


def _speed(steps: Iterator[float], seconds: float = 8.0) -> float:
    started, images = time.perf_counter(), 0.0
    while (spent := time.perf_counter() - started) < seconds:
        images += next(steps)
    return images / spent


def _training(photos: Photos, model: str, size: int, params: TrainParams) -> Training:
    torch.manual_seed(0)
    squares = photos.squares(augmentation_of(params, flips=True).source_side(size))
    network = build(Architecture(model, size), int(photos.labels.max()) + 1, params.dropout)
    return training_of(network, squares, photos.labels, size, params)


if __name__ == "__main__":
    main()
