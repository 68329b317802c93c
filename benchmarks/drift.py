"""Drift and accuracy without labels: `DARKROOM_TEST_DATA=... python benchmarks/drift.py [FOLDER]`.

CIFAR-10's 12,000 cats and dogs, split by five seeds as `split` does it (8,400 to train on, 1,800
for validation, 1,800 to test); for each a small CNN, four epochs, and what `export` seals of it.
Batches of 200 are then drawn from the test images, without replacement within a batch, and held
against that: twenty a seed as they are, and four a seed of each of four shifts. Prints one JSON
object a line for each bar. Trained weights are kept in FOLDER, where one is named, and taken from
there.
"""

import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from photos import ROOT, best_of, machine, params_with, training_of, unpacked
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file
from scipy.stats import binom

from pipeline.data.split import assign
from pipeline.export.fitting import fit
from pipeline.inference.drift import Observed, measure
from pipeline.inference.expected_accuracy import expect
from pipeline.inference.reference import Reference, read_reference
from pipeline.params import load_params
from pipeline.serving.appearance import brightness, sharpness
from pipeline.serving.images import Limits, to_square
from pipeline.training.feed import augmentation_of
from pipeline.training.models import Architecture, Network, build

MODEL, EPOCHS, SIZE = "small_cnn", 4, 32
SEEDS, UNSHIFTED, SHIFTED, IMAGES = 5, 20, 4, 200
ALPHA = 0.05
CLASSES = ("cat", "dog")
PARAMS = load_params(ROOT / "params.yaml")


@dataclass(frozen=True)
class Pictures:
    """In the order of their hashes."""

    data: list[bytes]
    keys: list[str]
    labels: np.ndarray

    def squares(self, side: int) -> np.ndarray:
        return np.stack([to_square(each, side, Limits()) for each in self.data])


@dataclass(frozen=True)
class Model:
    network: Network
    reference: Reference
    temperature: float

    def observe(self, pixels: np.ndarray) -> Observed:
        probabilities, embeddings = _answers(self.network, pixels, self.temperature)
        side = np.full(len(pixels), float(SIZE))
        seen = {"brightness": brightness(pixels), "sharpness": sharpness(pixels)}
        seen |= {"width": side, "height": side, "confidence": probabilities.max(1)}
        return Observed(probabilities.argmax(1), seen, embeddings)


def main(kept: Path) -> None:
    print(f"{machine()}, {MODEL}, {EPOCHS} epochs, {IMAGES} images a batch")
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpacked("cifar10.tar.xz", Path(scratch))
        pictures = _pictures([f for c in CLASSES for f in folder.glob(f"*/{c}/*.jpg")])
        others = _pictures([f for f in folder.glob("test/*/*.jpg") if f.parent.name not in CLASSES])
    squares, strangers = pictures.squares(SIZE), others.squares(SIZE)
    alarms: Counter[str] = Counter()
    causes: dict[str, Counter[str]] = {}
    inside: Counter[str] = Counter()
    off: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        model, test = _model(pictures, squares, seed, kept)
        pixels, labels = squares[test], pictures.labels[test]
        random = np.random.default_rng(seed)
        for kind, (count, draw) in _kinds(pixels, labels, strangers, random).items():
            for _ in range(count):
                batch, right = draw()
                observed = model.observe(batch)
                drift = measure(model.reference, observed, ALPHA)
                alarms[kind] += drift.alarm
                causes.setdefault(kind, Counter()).update(drift.drifted)
                if right is not None:
                    accuracy = float((observed.predicted == right).mean())
                    expected = expect(observed.measured["confidence"], model.reference.reliability)
                    low, high = expected.interval
                    inside[kind] += low <= accuracy <= high
                    off.setdefault(kind, []).append(accuracy - expected.accuracy)
    _tell(alarms, causes, inside, off)


def _kinds(
    pixels: np.ndarray, labels: np.ndarray, strangers: np.ndarray, random: np.random.Generator
) -> dict[str, tuple[int, Callable[[], tuple[np.ndarray, np.ndarray | None]]]]:
    """Return how many batches of which kind, and how one is drawn: pixels, and labels if known."""

    def some(change: Callable[[np.ndarray], np.ndarray] = lambda each: each):
        places = random.choice(len(pixels), IMAGES, replace=False)
        return change(pixels[places]), labels[places]

    def mixed():
        dogs = int(0.8 * IMAGES)
        parts = ((0, IMAGES - dogs), (1, dogs))
        places = np.concatenate(
            [random.choice(np.flatnonzero(labels == c), n, replace=False) for c, n in parts]
        )
        return pixels[places], labels[places]

    def strange():
        return strangers[random.choice(len(strangers), IMAGES, replace=False)], None

    return {
        "unshifted": (UNSHIFTED, some),
        "darker": (SHIFTED, lambda: some(_darker)),
        "blurred": (SHIFTED, lambda: some(_blurred)),
        "four dogs to a cat": (SHIFTED, mixed),
        "other classes": (SHIFTED, strange),
    }


def _darker(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.7).astype(np.uint8)


def _blurred(pixels: np.ndarray) -> np.ndarray:
    soft = ImageFilter.GaussianBlur(1)
    return np.stack([np.asarray(Image.fromarray(each).filter(soft)) for each in pixels])


def _pictures(files: list[Path]) -> Pictures:
    found = {hashlib.sha256(data := file.read_bytes()).hexdigest(): (data, file) for file in files}
    keys = sorted(found)
    labels = [int(found[key][1].parent.name == CLASSES[1]) for key in keys]
    return Pictures([found[key][0] for key in keys], keys, np.array(labels, np.int64))


def _model(
    pictures: Pictures, squares: np.ndarray, seed: int, kept: Path
) -> tuple[Model, np.ndarray]:
    """Return the model of one split, and which images are its test images."""
    split = PARAMS.split.model_copy(update={"seed": seed})
    names = np.array([assign(key, split) for key in pictures.keys])
    validation = names == "validation"
    network = _trained(pictures, squares, names == "train", validation, seed, kept)
    held = squares[validation]
    side = np.full(len(held), float(SIZE))
    fitted = fit(
        network,
        np.array_split(held, 20),
        pictures.labels[validation],
        {"width": side, "height": side},
        coverage=PARAMS.export.coverage,
        in_distribution=PARAMS.export.in_distribution,
    )
    with tempfile.TemporaryDirectory() as sealed:
        for name, content in fitted.files.items():
            (Path(sealed) / name).write_bytes(content)
        reference = read_reference(Path(sealed))
    test = names == "test"
    told = [
        f"{float((_answers(network, squares[m])[0].argmax(1) == pictures.labels[m]).mean()):.4f}"
        for m in (validation, test)
    ]
    print(
        f"  seed {seed}: {validation.sum()} and {test.sum()} images, accuracy {' and '.join(told)},"
        f" temperature {fitted.temperature:.3f}",
        flush=True,
    )
    return Model(network, reference, fitted.temperature), test


def _trained(
    pictures: Pictures,
    squares: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    seed: int,
    kept: Path,
) -> Network:
    params = params_with(model=MODEL, epochs=EPOCHS, seed=seed, batch_size=64, flip=0.5)
    torch.manual_seed(seed)
    network = build(Architecture(MODEL, SIZE), len(CLASSES), params.dropout)
    file, labels = kept / f"{MODEL}-{EPOCHS}-{seed}.safetensors", pictures.labels
    if file.exists():
        network.load_state_dict(load_file(file))
        return network.eval()
    larger = pictures.squares(augmentation_of(params, flips=True).source_side(SIZE))
    training = training_of(network, larger[train], labels[train], SIZE, params)
    network = best_of(training, squares[validation], labels[validation])
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    return network


def _answers(
    network: Network, pixels: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        embeddings = torch.cat([network.embed(b) for b in torch.from_numpy(pixels).split(128)])
        return (network.head(embeddings) / temperature).softmax(1).numpy(), embeddings.numpy()


def _tell(alarms, causes, inside, off) -> None:
    for kind, found in causes.items():
        print(f"  {kind}: {alarms[kind]} alarms, by {dict(found)}")
    for kind, found in off.items():
        print(
            f"  {kind}: {inside[kind]} of {len(found)} within the interval, "
            f"measured less expected {np.mean(found):+.4f}, spread {np.std(found):.4f}"
        )
    batches = SEEDS * UNSHIFTED
    by_chance = int(binom.ppf(0.95, batches, ALPHA)) / batches
    _bar("joint false alarms, share", alarms["unshifted"] / batches, by_chance, most=True)
    for kind in list(causes)[1:]:
        _bar(f"{kind}: detected of {SEEDS * SHIFTED}", alarms[kind], 18)
    _bar(f"accuracy within its interval, of {batches}", inside["unshifted"], 90)


def _bar(name: str, value: float, bar: float, most: bool = False) -> None:
    met = value <= bar if most else value >= bar
    print(json.dumps({"name": name, "value": value, "bar": bar, "met": bool(met)}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
