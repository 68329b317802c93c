"""What pruning costs and gains: `DARKROOM_TEST_DATA=... python benchmarks/pruning.py [FOLDS]`.

Cats and dogs, 64 px, the recipe of benchmarks/accuracy.py: five trainings, each with a seed and a
fifth of the photos of its own to be judged on, which neither chose an epoch nor ranked a channel.
Of each, half of the FLOPs is cut, then fine-tuned as by the stage; ONNX Runtime's fp32 images/s
before and after, alternating. Prints one JSON object a line for each bar.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accuracy import FOLDS, RECIPE, SIZE
from photos import best_of, machine, params_with, photos_of, tell, training_of, unpacked

from pipeline.export.fine_tune import fine_tune, recipe
from pipeline.export.onnx import to_onnx
from pipeline.export.prune import prune
from pipeline.metrics import accuracy
from pipeline.params import TrainParams
from pipeline.serving.engine import Engine
from pipeline.training.feed import augmentation_of
from pipeline.training.loop import predictions
from pipeline.training.models import Architecture, Network, build

SHARE, SAMPLE, VALIDATION = 0.5, 128, 120
FINE_TUNE = 5
"""Epochs: `export.prune_epochs`."""
BATCH, ROUNDS = 32, 9
Squares = dict[int, np.ndarray]
"""Of all photos, by their side."""


@dataclass(frozen=True)
class Outcome:
    before: float
    """Accuracy on the fold, as trained."""
    cut: float
    after: float
    gain: float
    """Images/s after, as a multiple of before."""
    speeds: tuple[float, float]


def main(folds: int) -> None:
    print(f"{machine()}, {folds} folds")
    with tempfile.TemporaryDirectory() as scratch:
        photos = photos_of(unpacked("cats_dogs.tar", Path(scratch)))
        side = augmentation_of(params_with(**RECIPE), flips=True).source_side(SIZE)
        squares = {each: photos.squares(each) for each in (SIZE, side)}
    found = []
    for fold in range(folds):
        outcome = _fold(squares, photos.labels, fold, params_with(**RECIPE, seed=fold))
        was, now = outcome.speeds
        print(
            f"  before {outcome.before:.4f}, cut {outcome.cut:.4f}, tuned {outcome.after:.4f}; "
            f"fp32 {was:.0f} and {now:.0f} images/s",
            flush=True,
        )
        found.append(outcome)
    lost = [100 * (each.after - each.before) for each in found]
    tell("half of the FLOPs cut: points of accuracy, mean", statistics.mean(lost), -2)
    gain = statistics.median(each.gain for each in found)
    tell("half of the FLOPs cut: images/s in fp32 / before", gain, 1)


def _fold(squares: Squares, labels: np.ndarray, fold: int, params: TrainParams) -> Outcome:
    order = np.random.default_rng(0).permutation(len(labels))
    held_out, rest = order[fold::FOLDS], np.delete(order, np.s_[fold::FOLDS])
    watched, kept = rest[:VALIDATION], rest[VALIDATION:]
    torch.manual_seed(fold)
    fresh = build(Architecture(params.model, SIZE), 2, params.dropout)
    training = training_of(fresh, squares[max(squares)][kept], labels[kept], SIZE, params)
    validation = squares[SIZE][watched], labels[watched]
    network = best_of(training, *validation)
    sample = kept[:SAMPLE]
    cut, _ = prune(network, SHARE, *map(torch.from_numpy, (squares[SIZE][sample], labels[sample])))

    def judge(each: Network) -> float:
        parts = predictions(each, squares[SIZE][held_out], torch.device("cpu"), BATCH)
        return accuracy(np.concatenate(list(parts)), labels[held_out])

    before, at_once = judge(network), judge(cut)
    for _ in fine_tune(cut, training.feed, validation, recipe(params, FINE_TUNE)):
        pass
    pairs = _speeds((network, cut), squares[SIZE][:BATCH])
    was, now = (statistics.median(each) for each in zip(*pairs, strict=True))
    gain = statistics.median(b / a for a, b in pairs)
    return Outcome(before, at_once, judge(cut), gain, (was, now))


def _speeds(networks: tuple[Network, Network], pixels: np.ndarray) -> list[tuple[float, float]]:
    """Return the images/s of both, round by round; the first round warms up."""
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "graph.onnx"
        engines = []
        for network in networks:
            graph.write_bytes(to_onnx(network, SIZE, 1.0))
            engines.append(Engine(graph))
    found = []
    for _ in range(ROUNDS + 1):
        speeds = []
        for engine in engines:
            time.sleep(0.2)  # the other one's threads spin for a while after they are done
            started = time.perf_counter()
            engine(pixels)
            speeds.append(BATCH / (time.perf_counter() - started))
        found.append((speeds[0], speeds[1]))
    return found[1:]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FOLDS)
